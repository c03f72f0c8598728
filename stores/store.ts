// What the rest of the system may know about a store's targets: a name, and the store that holds them.

/** One destination a mapping declares. Each store adds its own fields in its `target.ts`. */
export interface Target {
  readonly store: string;
  readonly name: string;
}
