// What the driver uses for its own bulk writes and does not export by name: a command's documents as a section of the message.
declare module 'mongodb/lib/cmap/commands.js' {
  export class DocumentSequence {
    constructor(field: string);
    /** `document` is not looked at where `bytes`, its BSON, are given. */
    push(document: object, bytes: Uint8Array): number;
  }
}
