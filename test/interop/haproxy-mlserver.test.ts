/**
 * Tests that a model whose versions run on two real MLServer behind a real HAProxy is promoted and rolled back by the weights of HAProxy:
 * callers ask by the Open Inference Protocol, and no request passes this system.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { defaultCanaryPolicy } from '../../domain/canary/policy.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import { findRelease } from '../../store/release/releases.ts'
import type { FixtureRelease } from '../support/release/release-fixture.ts'
import { startGatewaySystem, type GatewaySystem } from '../support/servers/gateway-system.ts'
import { putEndpoint } from '../support/serving/endpoint.ts'
import { startHaproxy, type Haproxy } from '../support/servers/haproxy.ts'
import { startMlserver } from '../support/servers/python-servers.ts'
import type { RealSystem } from '../support/servers/system-fixture.ts'
import { pythonOrReason } from './packages.ts'

const [haproxy, mlserver] = await Promise.all([pythonOrReason('haproxy.txt'), pythonOrReason('mlserver.txt')])
const model = 'roses'
const stage = { minMs: 2_000, minRequests: 100, deadlineMs: 600_000 }
const policy: ReleasePolicy = {
  strategy: 'canary',
  approval: { approvers: 1, withinMs: 200_000 },
  // Other work on the machine delays the servers.
  qualification: { p99Us: 60_000_000 },
  stages: [
    { ...stage, shareBp: 2_500 },
    { ...stage, shareBp: 5_000 },
  ],
  probation: { ...stage, holdbackBp: 1_000 },
  watch: { tickMs: 500, everyMs: 250, exposureMs: 4_000, acknowledgeMs: 3_000, decisionMs: 300_000 },
  limits: { ...defaultCanaryPolicy, promotion: 'off', maxStaleMs: 5_000 },
}

/** Writes a regression of some columns, and what MLServer needs to serve it under the name of a version. */
const training = `
import json, sys
from pathlib import Path
import joblib, numpy
from sklearn.linear_model import LogisticRegression
folder, version, columns, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
rows = numpy.random.default_rng(seed).normal(size=(200, columns))
model = LogisticRegression().fit(rows, rows.sum(axis=1) + rows[:, 0] * seed > 0)
joblib.dump(model, folder / "model.joblib")
parameters = {"uri": str(folder / "model.joblib"), "version": version}
settings = {"name": "roses", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": parameters}
(folder / "model-settings.json").write_text(json.dumps(settings))
`
const golden = [
  { x: 0, y: 0 },
  { x: 1, y: -2 },
]
type Row = (typeof golden)[number]
const bodyOf = ({ x, y }: Row) =>
  JSON.stringify({
    inputs: [{ name: 'x', shape: [1, 2], datatype: 'FP64', data: [x, y] }],
    outputs: [{ name: 'predict_proba' }],
  })
const inferPath = `/v2/models/${model}/infer`

type Server = Awaited<ReturnType<typeof startMlserver>> & { folder: string }
const root = mkdtempSync(join(tmpdir(), 'tenure-mlservers-'))
const servers: Server[] = []
let system: RealSystem
let gateway: Haproxy
let registry: GatewaySystem['registry']
let start: GatewaySystem['start']

async function train(folder: string, version: string, columns: number): Promise<void> {
  if ('reason' in mlserver) return
  const words = ['-c', training, folder, version, String(columns), String(servers.length)]
  await promisify(execFile)(mlserver.python, words)
}
async function startServer(version: string): Promise<Server> {
  if ('reason' in mlserver) throw new Error(mlserver.reason)
  const folder = mkdtempSync(join(root, 'server-'))
  await train(folder, version, 2)
  const server = { ...(await startMlserver(mlserver.bin, folder, [model])), folder }
  servers.push(server)
  return server
}

/** Registers the version that a server answers, with the answers that it gives now. */
async function register(server: Server, against?: string): Promise<string> {
  const known = new Map<string, number[]>()
  for (const row of golden) {
    const asked = await fetch(`${server.address}${inferPath}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: bodyOf(row),
    })
    const { outputs } = (await asked.json()) as { outputs: { data: number[] }[] }
    known.set(JSON.stringify(row), [outputs[0]!.data[1]!])
  }
  const digest = await putEndpoint(
    system.config.artifactRoot,
    { address: server.address, answer: (row) => known.get(JSON.stringify(row))! },
    {
      model,
      features: { x: { kind: 'number' }, y: { kind: 'number' } },
      output: { kind: 'probability', positive: 'yes', threshold: 0.5 },
      golden,
    },
    {
      endpoint: 'open-inference',
      model,
      tensor: { name: 'x', datatype: 'FP64' },
      outputs: [{ from: 'predict_proba', at: 1 }],
      timeoutMs: 20_000,
    },
  )
  return registry.register(against, digest)
}
const share = (version: string) => gateway.weights().then((weights) => weights[version])

/** Sends requests until the release has ended. Returns how often each version answered. */
async function loadUntilEnded({ id }: FixtureRelease): Promise<Record<string, number>> {
  const sum: Record<string, number> = {}
  while ((await findRelease(system.store, id))!.state.stage !== 'ended')
    for (const [name, count] of Object.entries(await gateway.load(50))) sum[name] = (sum[name] ?? 0) + count
  return sum
}

describe.skipIf('reason' in haproxy || 'reason' in mlserver)('two MLServer behind HAProxy', () => {
  const [first, second, third] = [0, 1, 2].map((minor) => `${model}_v1.${minor}.0`) as [
    string,
    string,
    string,
  ]
  const checks = () => Number(new URL(system.urls[0]!).port)
  beforeAll(async () => {
    if ('reason' in haproxy) return
    const server = await startServer(first)
    gateway = await startHaproxy(haproxy.python, {
      backend: model,
      servers: { [first]: server.port },
      asks: {
        path: inferPath,
        body: bodyOf(golden[1]!),
        nameOf: (text) => (JSON.parse(text) as { model_version: string }).model_version,
      },
    })
    const traffic = { gateway: 'haproxy', address: gateway.address, backend: model } as const
    ;({ system, registry, start } = await startGatewaySystem(traffic, { model, policy, replicas: 1 }))
    expect(await register(server)).toBe(first)
    expect(await (await start(first)).result()).toMatchObject({ outcome: 'promoted' })
  })
  afterAll(async () => {
    await system?.stop()
    await gateway?.stop()
    for (const server of servers) await server.stop()
    rmSync(root, { recursive: true })
  })

  it('a candidate is promoted, and no request fails', async () => {
    const server = await startServer(second)
    expect(await register(server, first)).toBe(second)
    await gateway.add(second, server.port, checks())
    const release = await start(second)
    const answered = await loadUntilEnded(release)
    expect(await release.result()).toMatchObject({ outcome: 'promoted' })
    expect(Object.keys(answered).toSorted()).toEqual([first, second])
    expect(await gateway.weights()).toEqual({ [first]: 0, [second]: 100 })
  })

  it('a candidate whose model is spoiled during its canary loses its share', async () => {
    const server = servers[0]!
    await train(server.folder, third, 2)
    await server.reload(model)
    expect(await register(server, second)).toBe(third)
    await gateway.add(third, server.port, checks())
    const release = await start(third)
    await expect.poll(() => share(third)).toBe(25)
    // It takes three columns now, and callers send two.
    await train(server.folder, third, 3)
    await server.reload(model)
    const answered = await loadUntilEnded(release)
    expect(await release.result()).toMatchObject({
      outcome: 'rolled_back',
      reason: expect.stringMatching(/canary requests failed/) as string,
    })
    expect(answered['500']).toBeGreaterThan(0)
    expect(await gateway.weights()).toEqual({ [first]: 0, [second]: 100, [third]: 0 })
    expect(await gateway.load(100)).toEqual({ [second]: 100 })
  })
})
