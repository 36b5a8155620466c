/** Tests `tenure models show` against a replica. */
import { pino } from 'pino'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { startServer, type RunningServer } from '../../../../api/server.ts'
import { modelsGroup } from '../../../../cli/commands/registry/models.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import { moveChampion } from '../../../../store/registry/champions.ts'
import { insertRetraining } from '../../../../store/training/retrainings.ts'
import { readConfig } from '../../../../temporal.config.ts'
import { runCommand } from '../../../support/command-line.ts'
import { irisSpec } from '../../../support/serving/artifact.ts'
import { openServingFixture, type ServingFixture } from '../../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let replica: RunningServer
let version: string
let key: string
beforeAll(async () => {
  fixture = await openServingFixture()
  version = await fixture.register(irisSpec())
  await moveChampion(fixture.store, {
    model: 'iris',
    to: version,
    cause: 'promotion',
    actor: 'a',
    reason: 'r',
  })
  await fixture.route('iris', { proven: version })
  key = await fixture.key()
  replica = await startServer(readConfig(fixture.environment()), pino({ level: 'silent' }))
})
afterAll(async () => {
  await replica?.stop('the test ends')
  await fixture.close()
})

function show(name: string) {
  vi.stubEnv('TENURE_KEY', key)
  return runCommand([modelsGroup], ['models', 'show', name, '--url', replica.url])
}

it('shows what serves, the features and the last retraining, and names a model that is mistyped', async () => {
  const first = await show('iris')
  expect(first.code, first.err).toBe(exitCodes.done)
  expect(first.out).toContain(`${version}, since `)
  expect(first.out).toMatch(/features +sepalLength \(number\), /)
  expect(first.out).toMatch(/last retraining +–/)
  const id = 'retrain/iris/018f0000-0000-7000-8000-000000000000'
  const asked = {
    model: 'iris',
    reason: 'manual',
    requestedBy: 'olga',
    asOf: '2026-01-01T00:00:00Z',
    evidence: {},
  }
  await insertRetraining(fixture.store, { id, ...asked })
  expect((await show('iris')).out).toMatch(/last retraining +running, started \d{4}-/)
  const mistyped = await show('iriss')
  expect(mistyped.code).not.toBe(exitCodes.done)
  expect(mistyped.err).toMatch(/did you mean iris\?/i)
})
