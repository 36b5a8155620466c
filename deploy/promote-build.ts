/**
 * Routes new workflows to the workers of a build: `npm run promote-build [-- BUILD] [--force]`; default: the build of this checkout.
 * Releases in progress finish on the workers they started with.
 */
import { Connection } from '@temporalio/client'
import { parseArgs } from 'node:util'
import { deploymentName, findBuilds, makeCurrent } from '../activities/worker/worker-versioning.ts'
import { connectionOf } from '../cli/client/temporal-connection.ts'
import { readConfig } from '../temporal.config.ts'

const { values, positionals } = parseArgs({
  options: { force: { type: 'boolean', default: false } },
  allowPositionals: true,
})
const config = readConfig()
const [buildId = config.buildId] = positionals
const { namespace } = config.temporal
const connection = await Connection.connect(connectionOf(config.temporal))
try {
  const before = await findBuilds(connection.workflowService, namespace)
  if (before === undefined || !before.known.includes(buildId)) {
    console.error(
      `No worker of build ${buildId} has asked for work yet (known: ${before?.known.join(', ') || 'none'}). ` +
        `Start one with WORKER_VERSIONING=on TENURE_BUILD_ID=${buildId} first.`,
    )
    process.exitCode = 4
  } else {
    await makeCurrent(connection.workflowService, { namespace, buildId, force: values.force })
    console.log(
      `${deploymentName}: build ${buildId} takes new work${before.current === undefined ? '' : `, build ${before.current} ends what it has begun`}`,
    )
  }
} catch (error) {
  console.error(`Temporal refuses: ${(error as Error).message}`)
  process.exitCode = 4
} finally {
  await connection.close()
}
