// The command, as its users have it.
import { join } from 'node:path';
import { checkout } from '../../stack/home.ts';

export const command = join(checkout, 'bin', 'causeway.js');
