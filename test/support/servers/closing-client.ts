/**
 * Calls a Temporal server that drops every connection, gives up and closes the client. A pending call of the library would crash this
 * process.
 */
import { createTemporalClient } from '../../../api/temporal/client.ts'

const client = createTemporalClient({
  temporal: { address: process.argv[2]!, namespace: 'default' },
  taskQueues: { control: 'unserved', train: 'unserved' },
})
const response = await client
  .call(300, ({ workflowService }) => workflowService.getSystemInfo({}))
  .catch((error: Error) => error.message)
await client.close()
process.stdout.write(String(response))
