/** Tests the prediction log when the process itself is killed; `npm run bench -- log` kills it twenty times. */
import { expect, it, onTestFinished } from 'vitest'
import { openDatabase, prepareServing } from '../../../support/servers/private-database.ts'
import { killAgainAndAgain } from '../../../support/serving/log-kills.ts'
import { startApiProcess, waitUntil } from '../../../support/serving/api-process.ts'
import { irisRow, irisSpec } from '../../../support/serving/artifact.ts'

it('the log is exact after the API was killed three times under load with a Postgres outage in between', async () => {
  const { answered, inFlight, served, stored, dropped, open, rows, outages } = await killAgainAndAgain({
    kills: 3,
    loadMs: 400,
  })
  expect(outages).toBe(2)
  expect(open).toBe(0)
  expect(stored + dropped).toBe(served)
  expect(rows).toBe(stored)
  expect(served).toBeGreaterThanOrEqual(answered)
  expect(served).toBeLessThanOrEqual(answered + inFlight)
  expect(stored).toBeGreaterThan(0)
})

it('the log in durable mode has the row of every answer after the API was killed three times under load', async () => {
  const database = await openDatabase()
  onTestFinished(database.stop)
  const environment = {
    ...(await prepareServing(database, [irisSpec()])),
    TENURE_PREDICTION_LOG: 'durable',
  }
  const body = JSON.stringify({ instances: [irisRow] })
  const headers = { 'content-type': 'application/json' }
  const answered: string[] = []
  for (let round = 1; round <= 3; round++) {
    const api = await startApiProcess(environment)
    const ask = async (): Promise<never> => {
      for (;;) {
        const answer = await fetch(`${api.url}/v1/models/iris/predict`, { method: 'POST', headers, body })
        const { predictions } = (await answer.json()) as { predictions: { id: string }[] }
        answered.push(predictions[0]!.id)
      }
    }
    const callers = Promise.allSettled(Array.from({ length: 16 }, ask))
    await waitUntil(() => answered.length > 300 * round, 'answers')
    await api.end('SIGKILL')
    await callers
  }
  const { rows } = await database.store.pool.query<{ count: number }>(
    'select count(*) from predictions where id = any ($1)',
    [answered],
  )
  expect(rows[0]!.count).toBe(answered.length)
})
