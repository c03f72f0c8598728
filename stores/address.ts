// A server's URL, read strictly. Whoever reports one uses `safeAddress`: what cannot be read for certain is not repeated, since a password may stand
// where a host is looked for.

export interface Host {
  /** An IPv6 address without its brackets. */
  readonly name: string;
  readonly port: number | undefined;
}

export interface Address {
  readonly scheme: string;
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly hosts: readonly Host[];
  /** Without its leading slash, decoded. */
  readonly path: string;
  readonly options: URLSearchParams;
}

/** The message is a predicate ("has a port that ...") for a sentence that names the URL; it repeats nothing of it. */
export class AddressError extends Error {
  override readonly name = 'AddressError';
}

const form = /^([a-z][a-z0-9+]*):\/\/(?:([^@/?#]*)@)?([^@/?#]*)(?:\/([^@?#]*))?(?:\?([^@#]*))?$/i;
const hostForm = /^(?:\[([0-9a-f:.]+(?:%25[\w.]+)?)\]|([\w.%~-]+))(?::(\d+))?$/i;
const encode =
  'a user or password with one of @ : / ? # [ ] % or a space in it is written percent-encoded (@ as %40, : as %3A, / as %2F, ? as %3F, # as %23, % as %25)';

/** Throws AddressError. Stricter than the drivers: where a character could be part of a password or end it, they guess, each in its own way. */
export function readAddress(url: string): Address {
  if (/[\s\p{Cc}]/u.test(url))
    throw new AddressError(
      /^\s|\s$/.test(url)
        ? 'begins or ends with a space or a line break; remove it'
        : `has a space or a line break in it; ${encode}`,
    );
  if (!url.includes('://')) throw new AddressError('is no URL: it has no :// in it');
  const match = form.exec(url);
  if (!match) throw new AddressError(`cannot be read: ${encode}`);
  const [, scheme, login, hosts, path, options] = match as unknown as [string, string, ...(string | undefined)[]];
  const [user, password, more] = login?.split(':') ?? [];
  if (more !== undefined) throw new AddressError(`has more than one : before the @; ${encode}`);
  return {
    scheme: scheme.toLowerCase(),
    user: user ? decoded(user) : undefined,
    password: password ? decoded(password) : undefined,
    hosts: hosts ? hosts.split(',').map(readHost) : [],
    path: decoded(path ?? ''),
    options: new URLSearchParams(options ?? ''),
  };
}

function readHost(text: string): Host {
  const match = hostForm.exec(text);
  if (!match)
    throw new AddressError(
      (text.match(/:/g)?.length ?? 0) > 1
        ? `has a host that cannot be read: an IPv6 address stands in brackets, as in [::1]:27017, and ${encode}`
        : `has a host or a port that cannot be read: a port is a number, and ${encode}`,
    );
  const port = match[3] === undefined ? undefined : Number(match[3]);
  if (port !== undefined && (port < 1 || port > 65_535))
    throw new AddressError('has a port that is not between 1 and 65535');
  return { name: decoded(match[1] ?? match[2]!), port };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new AddressError(`has a % in it that is followed by no two hexadecimal digits; ${encode}`);
  }
}

/** Of a value that may be several whole URLs separated by commas. */
export const readAddresses = (urls: string): Address[] => urls.split(/,(?=[a-z][a-z0-9+]*:\/\/)/i).map(readAddress);

export const hostText = ({ name, port }: Host, otherwise?: number): string =>
  `${name.includes(':') ? `[${name}]` : name}${port === undefined && otherwise === undefined ? '' : `:${port ?? otherwise}`}`;

/** For a person to read: hosts and path, without user, password or options; of an address that cannot be read nothing. */
export function safeAddress(url: string): string {
  try {
    return readAddresses(url)
      .map(({ hosts, path, options }) => {
        const where = hosts.length > 0 ? hosts.map((host) => hostText(host)).join(',') : (options.get('host') ?? '');
        return path ? `${where}/${path}` : where;
      })
      .join(',');
  } catch {
    return 'an address that cannot be read';
  }
}
