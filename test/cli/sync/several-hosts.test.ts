/** Tests the first command of an installation on several machines, where no `tenure up` prepares the servers. */
import { Client } from '@temporalio/client'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it, vi } from 'vitest'
import { modelsGroup } from '../../../cli/commands/registry/models.ts'
import { syncFromCheckout } from '../../../cli/sync/sync-models.ts'
import { listModels } from '../../../store/registry/models.ts'
import { readSchedules } from '../../../workflows/client/schedules.ts'
import { runCommand } from '../../support/command-line.ts'
import {
  connectTemporal,
  freshDatabase,
  freshNamespace,
  openPatientStore,
  temporalAddress,
} from '../../support/servers/servers.ts'

afterEach(() => vi.unstubAllEnvs())

it('models sync prepares an empty database and applies the models', async () => {
  const [databaseUrl, namespace] = [await freshDatabase(), await freshNamespace()]
  const stateDir = mkdtempSync(join(tmpdir(), 'tenure-hosts-'))
  const variables = {
    DATABASE_URL: databaseUrl,
    TEMPORAL_ADDRESS: temporalAddress(),
    TEMPORAL_NAMESPACE: namespace,
    TENURE_STATE: stateDir,
  }
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value)
  const { models, broken } = await syncFromCheckout()
  expect(broken).toEqual([])
  expect(models.map(({ name }) => name)).toEqual(expect.arrayContaining(['flight-delay', 'iris']))
  const { out } = await runCommand([modelsGroup], ['models', 'sync'])
  const start = '[\\d: -]+(?: \\((?:now|in \\d+ min)\\))?'
  expect(out).toMatch(new RegExp(`retrain/iris: next starts ${start}, ${start}, ${start}\n`))
  const store = openPatientStore(databaseUrl, { max: 1 })
  expect((await listModels(store)).map(({ name }) => name)).toEqual(models.map(({ name }) => name))
  const connection = await connectTemporal()
  const client = new Client({ connection, namespace })
  await expect
    .poll(async () => [...(await readSchedules(client)).keys()])
    .toEqual(expect.arrayContaining(['retention', 'retrain/iris', 'drill/iris']))
  await connection.close()
  await store.close()
  rmSync(stateDir, { recursive: true })
})
