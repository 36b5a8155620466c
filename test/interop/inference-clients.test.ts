/** Tests the Python clients of Triton, KServe and MLflow, installed from PyPI: `npm run test:all -- test/interop`. Skipped without a network. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { checkout } from '../../temporal.config.ts'
import { blocksOf } from '../support/docs/markdown.ts'
import { pythonOrReason } from './packages.ts'
import { startInteropReplica, type InteropReplica } from './replica.ts'

const triton = await pythonOrReason()
const kserve = await pythonOrReason('kserve/requirements.txt')
const mlflow = await pythonOrReason('mlflow/requirements.txt')
const skipped = (found: object) => ('reason' in found ? ` (skipped: ${String(found.reason)})` : '')
let replica: InteropReplica

beforeAll(async () => {
  replica = await startInteropReplica({ TENURE_GRPC_PORT: '0', TENURE_PUBLIC_PREDICTIONS: 'on' })
})
afterAll(() => replica?.stop())

async function printedBy(found: object, script: string, url: string): Promise<string> {
  const path = join(checkout, 'test', 'interop', script)
  const argv = [path, url, `127.0.0.1:${replica.grpcPort}`, replica.key]
  const { stdout } = await promisify(execFile)((found as { python: string }).python, argv)
  return stdout
}

it.skipIf('reason' in triton)(
  `tritonclient gets the same answers over gRPC as over HTTP${skipped(triton)}`,
  async () => {
    expect(await printedBy(triton, 'triton.py', new URL(replica.url).host)).toBe('all calls agree\n')
  },
)

it.skipIf('reason' in triton)(`the example of docs/clients/grpc.md runs${skipped(triton)}`, async () => {
  const page = readFileSync(join(checkout, 'docs/clients/grpc.md'), 'utf8')
  const { text } = blocksOf(page).find(({ language }) => language === 'python')!
  const script = `import sys\nkey = sys.argv[1]\n${text.replace('localhost:8001', `127.0.0.1:${replica.grpcPort}`)}`
  const { python } = triton as { python: string }
  const { stdout } = await promisify(execFile)(python, ['-c', script, replica.key])
  expect(stdout).toMatch(/^\[.*setosa.*\] [0-9a-f-]{36}\n$/)
})

it.skipIf('reason' in kserve)(
  `KServe’s clients get the same answers over gRPC and both protocols of HTTP${skipped(kserve)}`,
  async () => {
    expect(await printedBy(kserve, 'kserve/client.py', replica.url)).toBe('all calls agree\n')
  },
)

it.skipIf('reason' in mlflow)(
  `MLflow’s client gets the same answers in each of its forms${skipped(mlflow)}`,
  async () => {
    expect(await printedBy(mlflow, 'mlflow/client.py', new URL(replica.url).host)).toBe('all calls agree\n')
  },
)
