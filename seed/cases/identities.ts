// Identities that are not what they seem.
import { ObjectId } from 'bson';
import type { Dirt } from '../shape.ts';

/** The upstream code's fixed administrator, who has no document in `users`. */
export const FAKE_ADMIN = '507f1f77bcf86cd799439011';

/** The `_id` becomes the hex of a neighbour's ObjectId, as a string; its own hex where there is no neighbour, which nothing else has then. */
export const hexOfNeighbour: Dirt = (document, place) => {
  const twin = place.neighbour()?._id;
  document['_id'] = (twin instanceof ObjectId ? twin : place.id).toHexString();
};
