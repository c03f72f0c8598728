// Where Temporal is and how it is reached: the variables of Temporal's own CLI. Clear words when nobody answers there, or not to us.
import { loadClientConnectConfig } from '@temporalio/envconfig';
import type { NativeConnectionOptions } from '@temporalio/worker';
import { within } from '../core/within.ts';
import { faultOfLine } from './temporal-line.ts';

export interface TemporalSettings {
  readonly address: string;
  readonly namespace: string;
  readonly options: Pick<NativeConnectionOptions, 'tls' | 'apiKey' | 'metadata'>;
}

/** Exit code 3. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError';
}

/** What is wrong with a variable; values are not repeated, a key or a token may stand in one. */
export class TemporalSettingsError extends Error {
  override readonly name = 'EnvironmentError';
}

const noVerification = 'TEMPORAL_TLS_DISABLE_HOST_VERIFICATION';

const nameless =
  'over TLS an IPv6 address is no name that the worker could find in the certificate: set TEMPORAL_TLS_SERVER_NAME to a DNS name that stands in it';

/** The file of profiles is read where TEMPORAL_CONFIG_FILE or TEMPORAL_PROFILE asks for it: a migration does not go by what stands in a home. */
export function readTemporal(values: Readonly<Record<string, string | undefined>>): TemporalSettings | undefined {
  const given = Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, string] => entry[0].startsWith('TEMPORAL_') && !!entry[1]),
  );
  if (/^(1|true|yes)$/i.test(given[noVerification] ?? ''))
    throw new TemporalSettingsError(
      `${noVerification} is not supported: give the server's CA with TEMPORAL_TLS_SERVER_CA_CERT_PATH, and its name with TEMPORAL_TLS_SERVER_NAME where the address is another`,
    );
  const { connectionOptions, namespace } = configured(given);
  const { address, tls, apiKey, metadata } = connectionOptions;
  if (!address) return undefined;
  const checked = (typeof tls === 'object' ? tls?.serverNameOverride : undefined) ?? address.replace(/:\d+$/, '');
  if (tls && checked.includes(':')) throw new TemporalSettingsError(nameless);
  return {
    address,
    namespace: namespace ?? 'default',
    options: {
      ...(tls !== undefined && { tls }),
      ...(apiKey !== undefined && { apiKey }),
      ...(metadata && { metadata }),
    },
  };
}

function configured(given: Record<string, string>) {
  const disableFile = given['TEMPORAL_CONFIG_FILE'] === undefined && given['TEMPORAL_PROFILE'] === undefined;
  const cert = given['TEMPORAL_TLS_CLIENT_CERT_PATH'] ?? given['TEMPORAL_TLS_CLIENT_CERT_DATA'];
  const key = given['TEMPORAL_TLS_CLIENT_KEY_PATH'] ?? given['TEMPORAL_TLS_CLIENT_KEY_DATA'];
  if ((cert === undefined) !== (key === undefined))
    throw new TemporalSettingsError(
      'of TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_KEY_PATH only one is set: a client has both, certificate and key',
    );
  try {
    return loadClientConnectConfig({ disableFile, overrideEnvVars: given });
  } catch (error) {
    const { code, path, message } = error as NodeJS.ErrnoException;
    throw new TemporalSettingsError(
      path
        ? `a TEMPORAL_ variable names the file ${path}, which cannot be read (${code})`
        : `the TEMPORAL_ variables cannot be used: ${message}`,
    );
  }
}

/** What both kinds of connection have: enough to ask whether the namespace is there. */
interface Asking {
  readonly workflowService: {
    describeNamespace(request: { namespace: string }): Promise<unknown>;
  };
  close(): Promise<void>;
}

/** A connection that works: the server answers, takes our credentials, and has the namespace. Throws UnreachableError. */
export async function reach<C extends Asking>(settings: TemporalSettings, connect: () => Promise<C>): Promise<C> {
  const connection = await inTime(connect()).catch(async (error: unknown) => {
    throw new UnreachableError(describe(settings, error, await faultOfLine(settings)));
  });
  try {
    await connection.workflowService.describeNamespace({ namespace: settings.namespace });
  } catch (error) {
    // Whoever may not ask may still work there.
    if (codeOf(error) === grpc.permissionDenied) return connection;
    await connection.close().catch(() => undefined);
    throw new UnreachableError(describe(settings, error));
  }
  return connection;
}

const connectMs = 8000;

/** The worker's connection waits longer for a server that says nothing. One that comes too late is closed. */
async function inTime<C extends Asking>(connecting: Promise<C>): Promise<C> {
  const late = () => {
    connecting.then((connection) => connection.close()).catch(() => undefined);
    return new Error(`no answer within ${connectMs / 1000} s`);
  };
  return within(connectMs, connecting, late);
}

const grpc = { notFound: 5, permissionDenied: 7, unimplemented: 12, unauthenticated: 16 } as const;

/** Of an error of the client, of the worker's connection, or of what either wraps. */
function codeOf(error: unknown): number | undefined {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const { code } = at as { code?: unknown };
    if (typeof code === 'number') return code;
  }
  return undefined;
}

function describe({ address, namespace, options }: TemporalSettings, error: unknown, fault?: string): string {
  const code = codeOf(error);
  const at = `Temporal at ${address}`;
  if (code === grpc.notFound)
    return `${at} has no namespace "${namespace}": create it with \`temporal operator namespace create --namespace ${namespace}\`, or correct TEMPORAL_NAMESPACE.`;
  if (code === grpc.unauthenticated || code === grpc.permissionDenied)
    return `${at} refuses the credentials: check TEMPORAL_API_KEY, or TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_KEY_PATH.`;
  const text = firstLine(error);
  // The worker's connection shows a chain of structures; what the system said is the last message in it.
  const why = fault ?? /.*message: "([^"]+)"/.exec(text)?.[1] ?? text;
  const tls = options.tls
    ? 'It is asked over TLS: check TEMPORAL_TLS_SERVER_CA_CERT_PATH (the CA of its certificate), TEMPORAL_TLS_SERVER_NAME (the name in it) and, where it demands a client certificate, TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_KEY_PATH.'
    : 'It is asked without TLS: TEMPORAL_TLS=true, or a TEMPORAL_TLS_ variable, asks with it.';
  return `${at} cannot be reached (${why}). Check that it runs (\`causeway stack status\`, for the embedded one) and TEMPORAL_ADDRESS. ${tls}`;
}

/** The part of the operator service that is asked; without the right to, it refuses. */
interface Operating {
  readonly operatorService: {
    listSearchAttributes(request: {
      namespace: string;
    }): Promise<{ customAttributes?: Record<string, unknown> | null }>;
    addSearchAttributes(request: { namespace: string; searchAttributes: Record<string, number> }): Promise<unknown>;
  };
}

/** By name what the workflows set (`workflows/lib/attributes.ts`), with the server's number for its type. */
export const searchAttributes = {
  MigrationName: { type: 'Keyword', number: 2 },
  MigrationPhase: { type: 'Keyword', number: 2 },
  CutoverPercentage: { type: 'Int', number: 3 },
  Collection: { type: 'Keyword', number: 2 },
} as const;

export interface MissingAttributes {
  readonly names: readonly string[];
  /** Why they could not be registered here. */
  readonly why: string;
  /** What somebody with the right to runs. */
  readonly commands: readonly string[];
}

type Name = keyof typeof searchAttributes;

const missing = async ({ operatorService }: Operating, namespace: string): Promise<Name[]> => {
  const { customAttributes } = await operatorService.listSearchAttributes({ namespace });
  return (Object.keys(searchAttributes) as Name[]).filter((name) => customAttributes?.[name] === undefined);
};

/** Registers what is missing. undefined: all are there; otherwise what is missing, and the commands for who may. */
export async function registerAttributes(
  connection: Operating,
  { namespace }: Pick<TemporalSettings, 'namespace'>,
): Promise<MissingAttributes | undefined> {
  let names = Object.keys(searchAttributes) as Name[];
  try {
    names = await missing(connection, namespace);
    if (names.length === 0) return undefined;
    const wanted = Object.fromEntries(names.map((name) => [name, searchAttributes[name].number]));
    await connection.operatorService.addSearchAttributes({ namespace, searchAttributes: wanted });
    return undefined;
  } catch (error) {
    return {
      names,
      why: firstLine(error),
      commands: names.map(
        (name) =>
          `temporal operator search-attribute create --namespace ${namespace} --name ${name} --type ${searchAttributes[name].type}`,
      ),
    };
  }
}

export const withoutAttributes = ({ names, why, commands }: MissingAttributes): string =>
  `Temporal lacks the search attributes ${names.join(', ')}, and they could not be registered here (${why}). The migration runs without them; whoever may registers them with: ${commands.join('; ')}`;

/** For a dry run: what would be registered, or that nobody here may look. Registers nothing. */
export async function attributesToCome(
  connection: Operating,
  { address, namespace }: TemporalSettings,
): Promise<{ status: 'passed' | 'warning'; detail: string }> {
  const at = `${address}, namespace ${namespace}`;
  try {
    const names = await missing(connection, namespace);
    const detail = names.length === 0 ? at : `${at}; registers the search attributes ${names.join(', ')}`;
    return { status: 'passed', detail };
  } catch (error) {
    const detail = `${at}; its search attributes cannot be asked for (${firstLine(error)}): where they are missing, the migration runs without them`;
    return { status: 'warning', detail };
  }
}

const firstLine = (error: unknown): string =>
  error instanceof Error ? error.message.split('\n', 1)[0]! : String(error);
