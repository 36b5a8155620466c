/** Runs the notebook of docs/examples/ in a kernel while a release goes on: its approval, its stages, and the log of what was served. */
import { getRequestListener } from '@hono/node-server'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createApp } from '../../api/app.ts'
import { createMetrics } from '../../api/metrics/registry.ts'
import { createPredictEndpoint } from '../../api/transport/predict-endpoint.ts'
import { createTargetParser } from '../../api/transport/prediction-path.ts'
import { checkout, environmentWith } from '../../temporal.config.ts'
import {
  oneStagePolicy,
  startReleaseSystem,
  type ReleaseSystem,
} from '../support/lifecycle/release-system.ts'
import { uniqueName } from '../support/servers/servers.ts'
import { until } from '../support/serving/serving-fixture.ts'
import { pythonOrReason } from './packages.ts'

const made = await pythonOrReason('notebook.txt')
const reason = 'reason' in made ? made.reason : undefined
const model = uniqueName('model')
/** A kernel that starts on a busy machine takes long to approve. */
const policy = { ...oneStagePolicy, approval: { approvers: 1, withinMs: 600_000 } }
let system: ReleaseSystem
let server: Server

beforeAll(async () => {
  if (reason !== undefined) return
  system = await startReleaseSystem({ model, policy, callers: 10, everyMs: 20 })
  const { api } = system
  const { app } = createApp({ ...api.deps, metrics: createMetrics(api.serving, new Map()) })
  const [targetOf, endpoint] = [createTargetParser(), createPredictEndpoint(api.deps, new Map())]
  const respond = getRequestListener(app.fetch)
  server = createServer((request, response) => {
    const target = targetOf(request.method, request.url)
    if (target === undefined) void respond(request, response)
    else endpoint.acceptFromNode(target, request, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})
afterAll(async () => {
  server?.close()
  await system?.stop()
})

/** Runs the notebook with the key of an admin, who has not requested the release. Returns what its cells show. */
async function runNotebook(): Promise<string[]> {
  const script = join(checkout, 'test', 'interop', 'notebook.py')
  const notebook = join(checkout, 'docs', 'examples', 'notebook', 'release.ipynb')
  const env = environmentWith({
    TENURE_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    TENURE_KEY: system.keys.root,
    TENURE_MODEL: model,
    PYTHONPATH: join(checkout, 'packages', 'python', 'src'),
    PYTHONDONTWRITEBYTECODE: '1',
  })
  const { stdout } = await promisify(execFile)('python' in made ? made.python : '', [script, notebook], {
    env,
    maxBuffer: 16_777_216,
  })
  return JSON.parse(stdout) as string[]
}

it.skipIf(reason !== undefined)(
  `a notebook approves a release, follows it to its end, and reads the log${reason === undefined ? '' : `: ${reason}`}`,
  async () => {
    const { api, keys, registry } = system
    const released: string[] = []
    /** Releases a version that waits for its approval. Returns its release. */
    const open = async () => {
      const version = await registry.register(released.at(-1))
      await until(async () => {
        const { status } = await api.request('POST', '/v1/releases', {
          key: keys.olga,
          body: { model, version },
        })
        return status === 202
      }, 'the start')
      released.push(version)
      let release = ''
      await until(async () => {
        const { json } = await api.request('GET', `/v1/releases?model=${model}&open=true`, { key: keys.vera })
        release =
          (json['releases'] as { id: string; stage: string; version: string }[]).find(
            (each) => each.version === version && each.stage === 'awaiting_approval',
          )?.id ?? ''
        return release !== ''
      }, 'its turn')
      return release
    }
    // The first release has no control and no canary, so the notebook follows the second one.
    const first = await open()
    const approval = await api.request('POST', `/v1/releases/${first}/approve`, {
      key: keys.anna,
      body: { reason: 'the first' },
    })
    expect(approval.status).toBe(200)
    await until(async () => {
      const { json } = await api.request('GET', `/v1/predictions?model=${model}`, { key: keys.root })
      return (json['predictions'] as unknown[]).length > 0
    }, 'answers of the first version in the log')
    await open()
    const [connected, waiting, , stages, ended, served, again] = await runNotebook()
    const [champion, candidate] = released as [string, string]
    expect(connected).toMatch(/^Client\('http.*with a key\)$/)
    expect(waiting).toContain('awaiting_approval')
    expect(stages).toMatch(/stage +traffic +why/)
    expect(ended).toContain("'promoted'")
    expect(served).toMatch(new RegExp(`${champion} +champion[\\s\\S]*${candidate} +canary`))
    expect(again).toContain(candidate)
  },
)
