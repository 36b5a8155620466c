/** Tests `tenure models show` and `tenure models delete` against a replica. */
import { pino } from 'pino'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { startServer, type RunningServer } from '../../../../api/server.ts'
import { modelsGroup } from '../../../../cli/commands/registry/models.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import { moveChampion } from '../../../../store/registry/champions.ts'
import { insertRetraining } from '../../../../store/training/retrainings.ts'
import { readConfig } from '../../../../temporal.config.ts'
import { runCommand } from '../../../support/command-line.ts'
import { recordRemovedModels } from '../../../../store/maintenance/expected-work.ts'
import { irisSpec } from '../../../support/serving/artifact.ts'
import { openServingFixture, type ServingFixture } from '../../../support/serving/serving-fixture.ts'
import { temporalAddress } from '../../../support/servers/servers.ts'

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
  replica = await startServer(
    readConfig({ ...fixture.environment(), TEMPORAL_ADDRESS: temporalAddress() }),
    pino({ level: 'silent' }),
  )
})
afterAll(async () => {
  await replica?.stop('the test ends')
  await fixture.close()
})

function models(...words: string[]) {
  vi.stubEnv('TENURE_KEY', key)
  return runCommand([modelsGroup], ['models', ...words, '--url', replica.url])
}
const show = (name: string) => models('show', name)

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

it('deletes a model whose name is repeated, and says before what there is and what is left to do', async () => {
  await fixture.register(irisSpec('amb'))
  const once = await models('delete', 'amb')
  expect([once.code, once.err]).toEqual([exitCodes.usage, expect.stringContaining('--confirm amb')])
  const dry = await models('delete', 'amb', '--dry-run')
  expect(dry.code).toBe(exitCodes.otherwise)
  expect(dry.out).toMatch(
    /amb: nothing was deleted[^]* versions +1\n[^]*Before the model can be deleted:\n +the next sync/,
  )
  await recordRemovedModels(fixture.store, ['amb'])
  const done = await models('delete', 'amb', '--confirm', 'amb')
  expect(done.code, done.err).toBe(exitCodes.done)
  expect(done.out).toMatch(/^amb: deleted\n[^]* versions +1\n/)
  expect((await show('amb')).err).toContain('there is no model "amb"')
})
