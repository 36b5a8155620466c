/** Tests that the models of a large installation are applied, also through a slow link to Temporal. */
import { readFileSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { syncModels } from '../../../cli/sync/sync-models.ts'
import { modelsDirectory } from '../../../models/index.ts'
import { openStore } from '../../../store/postgres.ts'
import { readConfig } from '../../../temporal.config.ts'
import { openCuttableLink } from '../../support/servers/cuttable-link.ts'
import { migratedDatabase, temporalAddress, uniqueName } from '../../support/servers/servers.ts'
import { exampleModelDirectory } from '../../support/training/example-model.ts'

const count = 24

it('applies many models though all calls together take longer than the deadline of one', async () => {
  const directory = await exampleModelDirectory()
  const link = await openCuttableLink(`http://${temporalAddress()}`, { delayMs: 60 })
  const config = readConfig({
    DATABASE_URL: await migratedDatabase(),
    TEMPORAL_ADDRESS: new URL(link.url).host,
    TENURE_CONTROL_QUEUE: uniqueName('many'),
  })
  const store = openStore(config.databaseUrl, { max: 2 })
  const prefix = uniqueName('many').replaceAll('_', '-')
  const iris = readFileSync(join(modelsDirectory, 'iris.ts'), 'utf8').replace("'./", `'${modelsDirectory}`)
  const names = Array.from({ length: count }, (_, each) => `${prefix}-${each}`)
  for (const name of names) writeFileSync(join(directory, `${name}.ts`), iris.replace("'iris'", `'${name}'`))
  const { models, broken } = await syncModels({ config, store, directory })
  expect(broken).toEqual([])
  expect(models.map(({ name }) => name)).toEqual(names.toSorted())
  await store.close()
  await link.close()
  await rm(directory, { recursive: true })
}, 300_000)
