/**
 * Sends the prediction log to a topic as CloudEvents: each row at least once, and the rows of a model in the order of the transactions that
 * stored them. A row is sent after it is committed, so that no prediction waits for the broker. While the broker is down, rows wait in
 * Postgres.
 */
import type { FeatureFit } from '@tenure/predictors/features'
import { readLoggedRows } from '../../domain/model/logged-rows.ts'
import {
  countUnsent,
  listFits,
  numberPredictions,
  sendPredictions,
  type LoggedRequest,
} from '../../store/integrations/outbox.ts'
import type { Database } from '../../store/postgres.ts'
import { instanceSuffix } from '../serving/prediction-ids.ts'
import { streamCountOf } from './counts.ts'
import { cloudEvent, startSendingLoop, type Sender, type SendingOptions } from './sending.ts'
import { defaultBatchBytes, type SentRecord } from './stream.ts'

const maxVersions = 500
/** The interval at which waiting rows are counted, and the limit of the count. */
const countMs = 5_000
const maxCounted = 100_000

export function startSendingPredictions(options: Omit<SendingOptions, 'actions'>): Sender {
  const { store, stream, topic, source } = options
  const count = streamCountOf(topic)
  const known = new Map<string, FeatureFit[]>()
  let isNumbered = false
  let countAt = 0
  const learn = async (database: Database, rows: readonly LoggedRequest[]): Promise<void> => {
    const unknown = [...new Set(rows.map(({ version }) => version))].filter((version) => !known.has(version))
    if (unknown.length === 0) return
    if (known.size > maxVersions) known.clear()
    for (const [version, fits] of await listFits(database, unknown)) known.set(version, fits)
  }
  return startSendingLoop(options, 'predictions', async () => {
    if (!isNumbered) await numberPredictions(store)
    isNumbered = true
    const sent = await sendPredictions(store, topic, async (rows, database) => {
      await learn(database, rows)
      const records = rows.map((row) => predictionRecord(row, known.get(row.version), { topic, source }))
      await stream.produce(records)
    })
    if (sent === undefined) return undefined
    count.done += sent
    if (sent === 0) count.lag = 0
    else if (performance.now() > countAt) {
      count.lag = await countUnsent(store, topic, maxCounted)
      countAt = performance.now() + countMs
    }
    return sent > 0
  })
}

function predictionRecord(
  row: LoggedRequest,
  fits: readonly FeatureFit[] | undefined,
  { topic, source }: { topic: string; source: string },
): SentRecord {
  const { id, at, model, version, arm, releaseId, generation, latencyUs, instances } = row
  const event = (content: object): SentRecord =>
    cloudEvent(topic, model, {
      id,
      source,
      type: 'tenure.prediction',
      subject: version,
      time: at,
      data: {
        model,
        version,
        arm,
        release: releaseId ?? null,
        generation,
        routingKey: row.routingKey ?? null,
        reference: row.reference ?? null,
        keyId: row.keyId ?? null,
        latencyUs,
        instances,
        ...content,
      },
    })
  const full = event({ predictions: predictionsOf(row, fits) })
  // Readers find the predictions of an event without them in the log, under the id.
  return full.value.byteLength > defaultBatchBytes ? event({ predictions: [], isTooLarge: true }) : full
}

/** Returns the predictions of a request. Features are absent when they were erased or the version is unknown. */
function predictionsOf({ id, instances, features, outputs }: LoggedRequest, fits?: readonly FeatureFit[]) {
  const rows = fits && readLoggedRows(features, fits, instances)
  const width = outputs.length / instances
  return Array.from({ length: instances }, (_, place) => ({
    id: id.slice(0, -4) + instanceSuffix(place),
    ...(rows && { features: rows[place] }),
    outputs: outputs.slice(place * width, (place + 1) * width),
  }))
}
