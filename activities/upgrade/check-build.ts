/**
 * Checks this build against a running installation, in a child process: replays its workflows, loads its versions, and repeats its last
 * release, gate and drift verdicts. Changes nothing. Prints one JSON document.
 *
 * `check-build.ts <file with other workflow code>`: the argument is for tests.
 */
import { readFile } from 'node:fs/promises'
import { NativeConnection } from '@temporalio/worker'
import type { CheckedBuild } from '../../domain/installation/checked-build.ts'
import { openSharedArtifacts } from '../../store/objects/artifact-copies.ts'
import { openStore } from '../../store/postgres.ts'
import { readConfig } from '../../temporal.config.ts'
import { evaluateAgain, judgeAgain, judgeDriftAgain, openServingVersions, replayOwn } from './build-checks.ts'

const [codeFile] = process.argv.slice(2)
const config = readConfig()
const store = openStore(config.databaseUrl, { name: 'tenure upgrade', max: 2 })
const { address, apiKey, tls } = config.temporal
const connection = await NativeConnection.connect({ address, apiKey, tls: tls as true | undefined })
try {
  const code = codeFile === undefined ? undefined : await readFile(codeFile, 'utf8')
  const deps = { store, artifacts: openSharedArtifacts(config), config }
  const checked: CheckedBuild = {
    replayed: await replayOwn(connection, config, code),
    judged: await judgeAgain(store),
    versions: await openServingVersions(deps),
    gates: await evaluateAgain(deps),
    drift: await judgeDriftAgain(store),
  }
  process.stdout.write(`${JSON.stringify(checked)}\n`)
} finally {
  await connection.close()
  await store.close()
}
