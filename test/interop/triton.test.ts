/** Triton's client for Python over gRPC and HTTP, installed from PyPI: `npm run test:interop`. Skipped without a network. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { checkout } from '../../temporal.config.ts'
import { pythonOrReason } from './packages.ts'
import { startInteropReplica, type InteropReplica } from './replica.ts'

const found = await pythonOrReason()
const skipped = 'reason' in found ? ` (skipped: ${found.reason})` : ''
let replica: InteropReplica

beforeAll(async () => {
  replica = await startInteropReplica({ TENURE_GRPC_PORT: '0' })
})
afterAll(() => replica?.stop())

it.skipIf('reason' in found)(
  `tritonclient gets the same answers over gRPC as over HTTP${skipped}`,
  async () => {
    const script = join(checkout, 'test', 'interop', 'triton.py')
    const { host } = new URL(replica.url)
    const argv = [script, host, `127.0.0.1:${replica.grpcPort}`, replica.key]
    const { stdout } = await promisify(execFile)((found as { python: string }).python, argv)
    expect(stdout).toBe('all calls agree\n')
  },
)
