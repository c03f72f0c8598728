// A BSON value that JavaScript has no form for, as its bytes. The driver writes it as it is, wherever it stands in a document or a command.
import { BSONValue } from 'bson';
import { bsonType, bufferOf, utf8 } from './reader.ts';
import { textOfValue } from './text.ts';

/** What serializers go by when they choose how a value is written. */
const writtenAs = Symbol.for('@@mdb.bson.type');
const objectIdByte = bsonType.objectId;

/**
 * To the serializer it is an ObjectId, whose bytes the value writes by itself: so it writes its own, and its own type before its name. To everybody
 * else it is a BSON value of another kind than all they know: no date, no number, no text.
 */
export class RawValue extends BSONValue {
  readonly #type: number;
  readonly #bytes: Uint8Array;
  readonly #bell: Uint8Array | undefined;

  /** `name`: of the field it was read from. */
  constructor(type: number, bytes: Uint8Array, name = '') {
    super();
    this.#type = type;
    this.#bytes = bytes;
    // A name with the byte in it that the type is found by.
    this.#bell = name.includes('\u0007') ? Buffer.from(`\u0007${name}`) : undefined;
    Object.defineProperty(this, writtenAs, { value: 'ObjectId' });
  }

  override get _bsontype(): BSONValue['_bsontype'] {
    return 'RawValue' as BSONValue['_bsontype'];
  }

  get type(): number {
    return this.#type;
  }

  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** `at`: where the value begins; before it stand the type of an ObjectId, the name and a zero. */
  serializeInto(buffer: Uint8Array, at: number): number {
    let typeAt = at - 2;
    while (buffer[typeAt] !== objectIdByte) typeAt--;
    if (this.#bell) {
      const from = at - 1 - this.#bell.length;
      if (
        from >= 0 &&
        bufferOf(buffer)
          .subarray(from, at - 1)
          .equals(this.#bell)
      )
        typeAt = from;
    }
    buffer[typeAt] = this.#type;
    buffer.set(this.#bytes, at);
    return this.#bytes.length;
  }

  /** Canonical Extended JSON that jsonb takes: text with a zero in it stands as bytes. */
  toExtendedJSON(): unknown {
    const text = textOfValue(this.#type, this.#bytes);
    if (!text.includes('\\u0000')) return JSON.parse(text);
    return { $bson: this.#type.toString(16).padStart(2, '0') + bufferOf(this.#bytes).toString('hex') };
  }

  toJSON(): unknown {
    return this.toExtendedJSON();
  }

  override toString(): string {
    const buffer = bufferOf(this.#bytes);
    const text = this.#type === bsonType.symbol ? utf8(buffer, 4, buffer.length - 1) : undefined;
    return text ?? textOfValue(this.#type, this.#bytes);
  }

  inspect(): string {
    return `RawValue(${textOfValue(this.#type, this.#bytes)})`;
  }
}
