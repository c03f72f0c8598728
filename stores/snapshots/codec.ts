// Compression of snapshot files: zstd where this Node has it, gzip elsewhere. The manifest says which.
import type { Transform } from 'node:stream';
import zlib from 'node:zlib';
import { KnownFailure } from '../../core/failures.ts';

export type Codec = 'gzip' | 'zstd';

const chunkSize = 256 * 1024;

/** Node 22.15 and newer. */
const zstd = zlib as typeof zlib & { createZstdCompress?: () => Transform; createZstdDecompress?: () => Transform };

export const bestCodec = (): Codec => (zstd.createZstdCompress ? 'zstd' : 'gzip');

/** The fastest level: a snapshot is bound by the processor, not by the disk. */
export const compressor = (codec: Codec): Transform =>
  codec === 'zstd' ? zstd.createZstdCompress!() : zlib.createGzip({ level: 1 });

export function decompressor(codec: Codec): Transform {
  if (codec === 'gzip') return zlib.createGunzip({ chunkSize });
  if (zstd.createZstdDecompress) return zstd.createZstdDecompress();
  throw new KnownFailure(
    'CheckpointRefused',
    `The snapshot is compressed with zstd, which Node ${process.versions.node} cannot read; run the worker with Node 22.15 or newer.`,
  );
}
