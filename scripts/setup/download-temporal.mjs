// @ts-check
// Lets the Temporal SDK fetch its development server into a directory. It runs as a process of its own because the SDK
// loads a native library and starts the server it fetched; this way a failure of either cannot take the set-up along.
import { TestWorkflowEnvironment } from '@temporalio/testing'

const [downloadDir, version] = process.argv.slice(2)
if (downloadDir === undefined || version === undefined)
  throw new Error('usage: download-temporal.mjs DIRECTORY VERSION')

const server = await TestWorkflowEnvironment.createLocal({
  server: { executable: { type: 'cached-download', downloadDir, version } },
})
await server.teardown()
