/** Versions of a model on real MLServer, behind a gateway that their callers ask by the Open Inference Protocol. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { defaultCanaryPolicy } from '../../../domain/canary/policy.ts'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import { findRelease } from '../../../store/release/releases.ts'
import type { FixtureRelease } from '../release/release-fixture.ts'
import { putEndpoint } from '../serving/endpoint.ts'
import type { Callers, CallerQuestion } from './callers.ts'
import type { GatewaySystem } from './gateway-system.ts'
import { startMlserver } from './python-servers.ts'

export const model = 'roses'
const stage = { minMs: 2_000, minRequests: 100, deadlineMs: 600_000 }
export const policy: ReleasePolicy = {
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

/** How callers ask, and which version answers them. */
export const asks: CallerQuestion = {
  path: `/v2/models/${model}/infer`,
  body: bodyOf(golden[1]!),
  nameOf: (text) => (JSON.parse(text) as { model_version: string }).model_version,
}

type Server = Awaited<ReturnType<typeof startMlserver>> & { folder: string }

/** `host`: where the servers listen. */
export function openMlservers({ bin, python }: { bin: string; python: string }, host?: string) {
  const root = mkdtempSync(join(tmpdir(), 'tenure-mlservers-'))
  const servers: Server[] = []
  const train = (folder: string, version: string, columns: number) =>
    promisify(execFile)(python, ['-c', training, folder, version, `${columns}`, `${servers.length}`])
  const serve = async (server: Server, version: string, columns: number) => {
    await train(server.folder, version, columns)
    await server.reload(model)
  }
  return {
    async start(version: string): Promise<Server> {
      const folder = mkdtempSync(join(root, 'server-'))
      await train(folder, version, 2)
      const server = { ...(await startMlserver(bin, folder, [model], host)), folder }
      servers.push(server)
      return server
    },
    /** Trains another version, which the server answers from then on. */
    change: (server: Server, version: string) => serve(server, version, 2),
    /** Makes a server fail: its model takes three columns from then on, and callers send two. */
    spoil: (server: Server, version: string) => serve(server, version, 3),
    /** Registers the version that a server answers, with the answers that it gives now. */
    async register(
      { system, registry }: Pick<GatewaySystem, 'system' | 'registry'>,
      server: Server,
      against?: string,
    ): Promise<string> {
      const known = new Map<string, number[]>()
      for (const row of golden) {
        const asked = await fetch(`${server.address}${asks.path}`, {
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
          timeoutMs: 60_000,
        },
      )
      return registry.register(against, digest)
    },
    async stop() {
      for (const server of servers) await server.stop()
      rmSync(root, { recursive: true })
    },
  }
}

/** Sends requests until the release has ended. Returns how often each version answered. */
export async function loadUntilEnded(
  { system }: Pick<GatewaySystem, 'system'>,
  { load }: Pick<Callers, 'load'>,
  { id }: FixtureRelease,
): Promise<Record<string, number>> {
  const sum: Record<string, number> = {}
  while ((await findRelease(system.store, id))!.state.stage !== 'ended')
    for (const [name, count] of Object.entries(await load(50))) sum[name] = (sum[name] ?? 0) + count
  return sum
}
