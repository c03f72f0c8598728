// Dirt in token_usage.timestamp (cases 2-7). The ObjectId's time is always true, so it tells which zone a naive time is in.
import { Double, Int32, Long } from 'bson';
import type { Dirt, DirtyCase } from '../shape.ts';
import { instant, naiveLocal, naiveUtc, START, wholeSeconds, withZone, type Moment } from '../time.ts';
import { column, loaded, quarantined, remove, set } from './catalogue.ts';

const EIGHT_HOURS = 8 * 3_600_000;
const YEAR = 365 * 86_400_000;

/** Writes the document's own moment (or one derived from it) in another way, and expects it back. */
const written =
  (write: (moment: Moment) => unknown, moment: (moment: Moment) => Moment = (same) => same): Dirt =>
  (document, place) => {
    const at = moment(place.moment);
    document['timestamp'] = write(at);
    return column('timestamp', instant(at));
  };

const milliseconds = ({ time }: Moment): Moment => ({ time, micros: 0 });

export const timestampCases: readonly DirtyCase[] = [
  loaded(2, 'naive, host in Shanghai', written(naiveLocal)),
  loaded(2, 'naive, host in UTC', written(naiveUtc)),
  loaded(
    3,
    'BSON Date',
    written(({ time }) => new Date(time), milliseconds),
  ),
  loaded(3, 'BSON Date of a naive local time read as UTC', (document, { moment }) => {
    document['timestamp'] = new Date(moment.time + EIGHT_HOURS);
    delete document['_created_at'];
  }),
  loaded(
    4,
    'epoch seconds',
    written(({ time }) => new Int32(time / 1000), wholeSeconds),
  ),
  loaded(
    4,
    'epoch seconds with a fraction',
    written(({ time }) => new Double(time / 1000), milliseconds),
  ),
  loaded(
    4,
    'epoch milliseconds',
    written(({ time }) => Long.fromNumber(time), milliseconds),
  ),
  loaded(
    4,
    'epoch milliseconds as double',
    written(({ time }) => new Double(time), milliseconds),
  ),
  loaded(
    4,
    'Z',
    written((moment) => instant(moment)),
  ),
  loaded(
    4,
    'space instead of T',
    written((moment) => naiveLocal(moment).replace('T', ' ')),
  ),
  loaded(
    4,
    'space instead of T, with zone',
    written((moment) => withZone(moment).replace('T', ' ')),
  ),
  loaded(4, 'no fraction', written(withZone, wholeSeconds)),
  quarantined(5, 'missing', 'timestamp_not_null', remove('timestamp')),
  quarantined(5, 'null', 'timestamp_not_null', set('timestamp', null)),
  quarantined(5, 'empty', 'timestamp_not_null', set('timestamp', '')),
  quarantined(5, 'garbage', 'timestamp_not_null', set('timestamp', '未知')),
  quarantined(5, 'no such date', 'timestamp_not_null', set('timestamp', '2025-13-45T99:00:00')),
  loaded(6, 'eight hours ahead', (document, { moment }) => {
    document['timestamp'] = `${naiveLocal(moment)}+00:00`;
    document['_created_at'] = new Date(moment.time + EIGHT_HOURS);
    return column('timestamp', instant(moment));
  }),
  quarantined(6, 'year 2099', 'timestamp_in_future', set('timestamp', '2099-01-01T00:00:00.000001+08:00')),
  loaded(7, 'older than the retention', (document, { moment }) => {
    const at: Moment = { time: START - 2 * YEAR + (moment.time % YEAR), micros: moment.micros };
    document['timestamp'] = withZone(at);
    delete document['_created_at'];
    return column('timestamp', instant(at));
  }),
];
