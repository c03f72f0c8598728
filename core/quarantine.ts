// Why a document was set aside: a rule, a path, a sentence. Never the document's values.

/** Thrown by mappings, caught by the transform, which writes the document to `migration_errors` and goes on. */
export class Quarantined extends Error {
  readonly rule: string;
  readonly path: string;

  constructor(rule: string, path: string, message: string) {
    super(message);
    this.name = 'Quarantined';
    this.rule = rule;
    this.path = path;
  }
}

/** Sets the document aside. `message` says what is wrong with the field, without its value. */
export function quarantine(rule: string, path: string, message: string): never {
  throw new Quarantined(rule, path, message);
}
