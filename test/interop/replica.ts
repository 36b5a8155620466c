/** Starts a whole replica with two models, for clients in other processes. */
import { pino } from 'pino'
import sql from 'sql-template-tag'
import { startServer } from '../../api/server.ts'
import { readConfig } from '../../temporal.config.ts'
import { loadModel } from '../../models/index.ts'
import { upsertModels } from '../../store/registry/models.ts'
import { flightSpec, irisSpec } from '../support/serving/artifact.ts'
import { openServingFixture, until, type ServingFixture } from '../support/serving/serving-fixture.ts'
import { seatChampion } from '../support/serving/seed-champion.ts'
import { temporalAddress } from '../support/servers/servers.ts'

export interface InteropReplica {
  fixture: ServingFixture
  url: string
  grpcPort: number | undefined
  key: string
  /** The champion of `iris`. */
  version: string
  stop(): Promise<void>
}

export async function startInteropReplica(environment: Record<string, string> = {}): Promise<InteropReplica> {
  const fixture = await openServingFixture()
  const key = await fixture.key()
  const version = await fixture.register(irisSpec())
  const flight = flightSpec()
  const flightVersion = await fixture.register(flight)
  // Complete definitions, so that both can be trained.
  const iris = await loadModel('iris')
  const { definition } = iris
  const { model: name, features, output } = flight
  const label = { ...definition.label, output }
  await upsertModels(fixture.store, [
    iris,
    { ...iris, name, definition: { ...definition, name, features, label } },
  ])
  // The facts of a version that the registry reads, as registrations write them.
  for (const [name, { features, output }] of Object.entries({
    [version]: irisSpec(),
    [flightVersion]: flight,
  }))
    await fixture.store.query(sql`
      update versions set manifest = ${JSON.stringify({ features, output })}::jsonb where version = ${name}`)
  await seatChampion(fixture.store, 'iris', version)
  await seatChampion(fixture.store, 'flight', flightVersion)
  const config = readConfig({
    ...fixture.environment(),
    TEMPORAL_ADDRESS: temporalAddress(),
    TENURE_INVOCATIONS_MODEL: 'iris',
    ...environment,
  })
  const server = await startServer(config, pino({ level: 'silent' }))
  await until(async () => (await fetch(`${server.url}/readyz`)).ok, 'a replica that is ready')
  return {
    fixture,
    url: server.url,
    grpcPort: server.grpcPort,
    key,
    version,
    async stop() {
      await server.stop('the test ends')
      await fixture.close()
    },
  }
}
