/** Tests that a monitor follows the interval of the model file at once, and not after the hour of the default. */
import { Client } from '@temporalio/client'
import { readFileSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { syncModels } from '../../../cli/sync/sync-models.ts'
import { modelsDirectory } from '../../../models/index.ts'
import { readConfig } from '../../../temporal.config.ts'
import { monitorWorkflowId } from '../../../workflows/messages.ts'
import {
  connectTemporal,
  migratedDatabase,
  openPatientStore,
  temporalAddress,
  uniqueName,
} from '../../support/servers/servers.ts'
import { exampleModelDirectory } from '../../support/training/example-model.ts'

it('a running monitor is told when its interval is set for the first time, changed or removed', async () => {
  const directory = await exampleModelDirectory()
  const config = readConfig({
    DATABASE_URL: await migratedDatabase(),
    TEMPORAL_ADDRESS: temporalAddress(),
    TENURE_CONTROL_QUEUE: uniqueName('interval'),
  })
  const store = openPatientStore(config.databaseUrl)
  const connection = await connectTemporal()
  const name = uniqueName('interval').replaceAll('_', '-')
  const iris = readFileSync(join(modelsDirectory, 'iris.ts'), 'utf8')
    .replace("'./", `'${modelsDirectory}`)
    .replace("'iris'", `'${name}'`)
  const monitor = new Client({ connection }).workflow.getHandle(monitorWorkflowId(name))
  /** Applies the file; returns how often the monitor has been told of changes. */
  const signalsAfter = async (every: string | undefined): Promise<number> => {
    const part = every === undefined ? '' : `monitor: { every: '${every}' },\n  `
    writeFileSync(join(directory, `${name}.ts`), iris.replace('retrain:', `${part}retrain:`))
    expect((await syncModels({ config, store, directory })).broken).toEqual([])
    const { events } = await monitor.fetchHistory()
    return events?.filter((event) => event.workflowExecutionSignaledEventAttributes != null).length ?? 0
  }
  expect(await signalsAfter(undefined)).toBe(0)
  expect(await signalsAfter('1 min')).toBe(1)
  expect(await signalsAfter('1 min')).toBe(1)
  expect(await signalsAfter('5 min')).toBe(2)
  expect(await signalsAfter(undefined)).toBe(3)
  await monitor.terminate()
  await connection.close()
  await store.close()
  await rm(directory, { recursive: true })
})
