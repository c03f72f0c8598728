// Spellings of one server's address that are known to mean the same: case, the loopback interface's names, the port that needs no saying. Pure.

const loopback =
  /^(localhost|localhost\.localdomain|ip6-localhost|\[?::1\]?|\[?::ffff:127(\.\d+){3}\]?|127(\.\d+){3})$/;

/** `host:port` in the form that stands for all of its spellings. */
export function plainHost(host: string, port: string | number): string {
  const name = host.toLowerCase().replace(/\.$/, '');
  return `${loopback.test(name) ? 'localhost' : name}:${port}`;
}
