/** Runs a training worker as a child process, with model files from the directory in its argument. */
import { NativeConnection, Runtime } from '@temporalio/worker'
import { createTrainWorker } from '../../../activities/worker/create-worker.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import { openStore } from '../../../store/postgres.ts'
import { readConfig } from '../../../temporal.config.ts'

const [models = ''] = process.argv.slice(2)
const silent = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }
Runtime.install({ logger: silent })
const config = readConfig()
const connection = await NativeConnection.connect({ address: config.temporal.address })
const store = openStore(config.databaseUrl)
const deps = {
  store,
  artifacts: openArtifacts(config.artifactRoot),
  config,
  log: silent,
}
const worker = await createTrainWorker(deps, connection, { models })
process.stdout.write('ready\n')
await worker.run()
await connection.close()
await store.close()
