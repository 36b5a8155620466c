/** Kills the replica that reads a topic repeatedly, and the broker once, and compares consumed records with answers. */
import sql from 'sql-template-tag'
import { setTimeout as pause } from 'node:timers/promises'
import { startApiProcess, waitUntil } from '../serving/api-process.ts'
import { partitions, type Scene } from './scene.ts'

export interface StreamKills {
  kills: number
  /** Number of records in the topic. */
  consumed: number
  answered: number
  dead: number
  /** Distinct records among those with an answer or a dead letter. */
  sources: number
  /** Rows of the answers in the prediction log, and distinct ids among them. */
  rows: number
  ids: number
}

export async function killStream(scene: Scene, kills: number, perRound: number): Promise<StreamKills> {
  const { topics, broker, database, send, metric } = scene
  const from = 'kills'
  await topics.create(partitions, from, `${from}.answers`, `${from}.dead`)
  const environment = { ...scene.answering(from, 'kills'), TENURE_PREDICTION_LOG: 'durable' }
  let consumed = 0
  for (let kill = 0; kill < kills; kill++) {
    consumed += await send(from, perRound, true)
    const replica = await startApiProcess(environment)
    await waitUntil(
      async () => (await metric(replica, 'tenure_stream_records_total', from)) > 0,
      'the first answers',
    )
    await pause(300 * Math.random())
    if (kill === Math.floor(kills / 2)) await broker.restart()
    await replica.end('SIGKILL')
  }
  const last = await startApiProcess(environment)
  const seen = async () => ({
    answers: await topics.read(`${from}.answers`),
    dead: await topics.read(`${from}.dead`),
  })
  await waitUntil(async () => (await metric(last, 'tenure_stream_lag', from)) === 0, 'the end of the topic')
  await waitUntil(async () => {
    const { answers, dead } = await seen()
    return answers.length + dead.length >= consumed
  }, 'an answer for each record')
  await last.end('SIGTERM')
  const { answers, dead } = await seen()
  const ids = answers.map(
    ({ value }) => (JSON.parse(value) as { predictions: { id: string }[] }).predictions[0]!.id,
  )
  const [logged] = await database.store.query<{ rows: number; ids: number }>(
    sql`select count(*)::integer as rows, count(distinct id)::integer as ids from predictions where id = any (${ids}::uuid[])`,
  )
  const sources = new Set([...answers, ...dead].map(({ headers }) => headers['tenure-source'])).size
  return { kills, consumed, answered: answers.length, dead: dead.length, sources, ...logged! }
}
