// What may be asked of a document whose fields are known by where they stand, without decoding it.

export interface Look {
  /** Whether there is such a field, declared or not. */
  has(field: string): boolean;
  /** Of a declared field that holds text. */
  is(field: string, text: string): boolean;
  begins(field: string, text: string): boolean;
  /** Of a declared field that holds an Int32. */
  int(field: string): number | undefined;
}
