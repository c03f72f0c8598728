// A line to a store that a test can cut and mend.
import { connect, createServer, type Server, type Socket } from 'node:net';

/** Stands in front of a store and can be cut, or lose or keep back what the client says. `dialled`: connections tried so far. */
export async function cuttable(url: string) {
  const target = new URL(url);
  const { port: behind, hostname } = new URL(url);
  const sockets = new Set<Socket>();
  let dialled = 0;
  let refusing = false;
  let deaf = false;
  let held: (() => void)[] | undefined;
  const serve = (socket: Socket) => {
    dialled++;
    if (refusing) return void socket.destroy();
    const onward = connect(Number(behind), hostname);
    for (const one of [socket, onward]) {
      sockets.add(one);
      one.on('error', () => undefined);
    }
    socket.on('data', (part) => {
      if (held) held.push(() => onward.write(part));
      else if (!deaf) onward.write(part);
    });
    socket.on('end', () => onward.end());
    onward.pipe(socket);
  };
  let server: Server;
  const listen = (port: number) =>
    new Promise<number>((resolve) => {
      server = createServer(serve).listen(port, '127.0.0.1', () =>
        resolve((server.address() as { port: number }).port),
      );
    });
  const port = await listen(0);
  target.port = String(port);
  return {
    url: target.href,
    cut: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
      sockets.clear();
    },
    mend: () => listen(port),
    /** What the server says still arrives. */
    deafen: () => void (deaf = true),
    /** What the client says arrives only when `release` is called. `waiting`: how many parts do. */
    hold: () => void (held = []),
    waiting: () => held?.length ?? 0,
    release: () => {
      for (const go of held ?? []) go();
      held = undefined;
    },
    /** Cuts, and accepts connections only to end them, so that each can be counted. */
    refuse: () => {
      refusing = true;
      for (const socket of sockets) socket.destroy();
    },
    dialled: () => dialled,
  };
}
