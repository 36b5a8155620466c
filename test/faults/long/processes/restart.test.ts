/** Kills replicas, workers, Temporal and Postgres at once, under load and in the middle of a canary. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { linkedStage } from '../../../support/fleet/links.ts'
import { restartAll } from '../../../support/fleet/restart.ts'
import { verifyAudit } from '../../../../store/audit/audit-log.ts'
import { reached } from '../../figures.ts'
import { openLinkedShow, type LinkedShow } from '../../../support/fleet/linked-fleet.ts'

let show: LinkedShow
beforeAll(async () => {
  show = await openLinkedShow(linkedStage)
})
afterAll(async () => {
  await show?.stop()
})
afterEach((context) => {
  if (context.task.result?.state === 'fail')
    process.stderr.write(`${show.system.lines.slice(-120).join('\n')}\n`)
})

it('a restart of every process at once settles by itself, and the release continues to its promotion', async () => {
  const { steadyMs, postgres, outcome } = await restartAll(show)
  expect(outcome).toBe('promoted')
  expect(await verifyAudit(show.system.store)).not.toMatchObject({ breach: expect.anything() })
  reached(
    'F35',
    `steady after ${steadyMs} ms, ${postgres.opened} connections to Postgres asked for by then, at most ${postgres.atOnce} in a tenth of a second (${postgres.mayHold} may be held); the release went on and was promoted`,
  )
})
