// @ts-check
// Downloads the development server of Temporal into a directory through the Temporal SDK. Runs as a separate process, because the SDK loads
// a native library and starts the downloaded server, and a crash of either must not end the set-up.
import { TestWorkflowEnvironment } from '@temporalio/testing'

const [downloadDir, version] = process.argv.slice(2)
if (downloadDir === undefined || version === undefined)
  throw new Error('usage: download-temporal.mjs DIRECTORY VERSION')

const server = await TestWorkflowEnvironment.createLocal({
  server: { executable: { type: 'cached-download', downloadDir, version } },
})
await server.teardown()
