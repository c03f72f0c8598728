// Which servers this process has opened, so that a failure names side, host and port: the errors of drivers name at most an address.

export class Endpoints {
  readonly #sides = new Map<string, Set<string>>();
  readonly #opened = new Set<string>();

  /** `side` as a sentence has it: source, target. `hosts` as the driver reports them. */
  open(side: string, hosts: readonly string[]): void {
    this.#opened.add(`the ${side} at ${hosts.join(',')}`);
    for (const host of hosts) this.meet(side, host);
  }

  /** A server that the driver found by itself, a member of the set or cluster. */
  meet(side: string, host: string): void {
    const sides = this.#sides.get(host) ?? new Set();
    this.#sides.set(host, sides.add(side));
  }

  /** `host` where the error tells it; otherwise what was opened, if that is clear. */
  name(host?: string): string {
    const sides = host === undefined ? undefined : this.#sides.get(host);
    if (sides) return `the ${[...sides].sort().join(' or ')} at ${host}`;
    if (this.#opened.size === 1) return [...this.#opened][0]!;
    return host === undefined ? 'the server' : `the server at ${host}`;
  }
}

const certificate =
  /certificate|altnames|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|CERT_|ERR_TLS|ERR_SSL|SSL routines|SSL connections|wrong version number/i;
const codes = /\b(ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EPIPE)\b/;

/** Why a server was not reached, as far as the error and its causes tell: the system's code, or what is wrong with TLS. No values stand in either. */
export function reasonOf(error: unknown, depth = 4): string | undefined {
  if (!(error instanceof Error) || depth === 0) return undefined;
  const { code, cause, errors, reason } = error as Error & { code?: unknown; errors?: unknown[]; reason?: unknown };
  const text = `${typeof code === 'string' ? code : ''} ${error.message}`;
  const network = codes.exec(text);
  if (network) return network[1];
  if (certificate.test(text))
    return `TLS: ${error.message.split('\n', 1)[0]}; the CA of the server is named in the URL or in NODE_EXTRA_CA_CERTS`;
  const servers = (reason as { servers?: Map<string, { error?: unknown }> } | undefined)?.servers;
  const deeper = [cause, ...(errors ?? []), ...[...(servers?.values() ?? [])].map((server) => server.error)];
  return deeper.map((one) => reasonOf(one, depth - 1)).find((found) => found !== undefined);
}
