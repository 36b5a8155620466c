/**
 * Tests that models of real servers (MLServer, KServe's server for Python, MLflow's scoring server) and of a stand-in for a server of completions are
 * registered, judged, released and asked by each of their protocols, and rolled back when another model answers under its name.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it, vi } from 'vitest'
import { freePort } from '@tenure/embedded'
import { checkout } from '../../temporal.config.ts'
import { askDirectly } from '../support/serving/ask-endpoint.ts'
import { answers, startMlserver, startProgram } from '../support/servers/python-servers.ts'
import { followPythonProject } from '../support/training/python-project.ts'
import { pythonOrReason } from './packages.ts'

const requirements = {
  mlserver: 'mlserver.txt',
  kserve: 'kserve-server.txt',
  mlflow: 'mlflow-models.txt',
  openai: 'openai-stand-in.txt',
}
const found = await Promise.all(Object.values(requirements).map((file) => pythonOrReason(file)))
const missing = found.find((each) => 'reason' in each)
const pythons = Object.fromEntries(
  Object.keys(requirements).map((name, at) => [name, found[at] as { bin: string; python: string }]),
) as Record<keyof typeof requirements, { bin: string; python: string }>

const run = promisify(execFile)
const own = (file: string) => join(checkout, 'test', 'interop', file)

interface Elsewhere {
  name: string
  /** Files by which the server is asked. The first becomes a version. */
  files: Record<string, unknown>[]
  /** Another model under the same name. */
  replace: () => Promise<unknown>
  stop: () => Promise<void>
}
type Start = (folder: string, orders: string) => Promise<Elsewhere>

const columns = ['unit_price', 'pieces', { name: 'channel', text: true }]
// A busy machine delays the servers.
const shared = { columns, timeoutMs: 60_000 }
const inference = {
  endpoint: 'open-inference',
  model: 'orders',
  ...shared,
  outputs: [{ from: 'predict_proba', at: 1 }],
}

const servers: Record<keyof typeof requirements, Start> = {
  async mlserver(folder, orders) {
    const { python, bin } = pythons.mlserver
    const train = (seed: string) => run(python, [own('orders_model.py'), folder, orders, seed])
    await train('1')
    const { address, grpc, reload, stop } = await startMlserver(bin, folder, ['orders', 'vectors'])
    await compareVectors(
      [address, grpc],
      Number(await readFile(join(folder, 'vectors', 'answer.json'), 'utf8')),
    )
    const asked = { ...inference, revision: 'v1', pandas: true }
    return {
      name: 'MLServer',
      files: [
        { ...asked, address: grpc },
        { ...asked, address },
      ],
      replace: async () => {
        await train('2')
        await reload('orders')
      },
      stop,
    }
  },
  async kserve(folder, orders) {
    const { python } = pythons.kserve
    const train = (seed: string) => run(python, [own('orders_model.py'), folder, orders, seed])
    const [http, grpc] = [await freePort(), await freePort()]
    await train('1')
    const words = [own('kserve_model.py'), join(folder, 'model.joblib'), String(http), String(grpc)]
    const { stop } = startProgram(python, words)
    const address = `http://127.0.0.1:${http}`
    await answers(`${address}/v2/models/orders/ready`)
    return {
      name: 'KServe',
      files: [
        { ...inference, address },
        { ...inference, address: `grpc://127.0.0.1:${grpc}` },
      ],
      replace: () => train('2'),
      stop,
    }
  },
  async mlflow(folder, orders) {
    const { python, bin } = pythons.mlflow
    const port = String(await freePort())
    const address = `http://127.0.0.1:${port}`
    const serve = async (seed: string) => {
      await run(python, [own('orders_model.py'), folder, orders, seed, 'mlflow'])
      const model = join(folder, `mlflow-${seed}`)
      // As `mlflow models serve --env-manager local` starts it.
      const words = ['models', 'serve', '-m', model, '-h', '127.0.0.1', '-p', port, '--env-manager', 'local']
      const started = startProgram(join(bin, 'mlflow'), words)
      await answers(`${address}/ping`)
      return started
    }
    let running = await serve('1')
    return {
      name: 'MLflow',
      files: [
        { endpoint: 'mlflow', ...shared, address: `${address}/invocations`, outputs: ['predictions.*.1'] },
      ],
      replace: async () => {
        await running.stop()
        running = await serve('2')
      },
      stop: () => running.stop(),
    }
  },
  async openai() {
    const port = await freePort()
    const { stop } = startProgram(pythons.openai.python, [own('openai_stand_in.py'), String(port)])
    const address = `http://127.0.0.1:${port}/v1`
    await answers(`http://127.0.0.1:${port}/`)
    return {
      name: 'the stand-in',
      files: [
        {
          endpoint: 'openai',
          kind: 'completion',
          ...shared,
          address,
          model: 'returns',
          revision: 'stand-in',
          prompt: 'An order of {{pieces}} by {{channel}} costs {{unit_price}}. How probable is its return?',
          json: ['returned'],
          price: { perMillionTokens: { input: 100, output: 300 }, unit: 'USD' },
        },
      ],
      replace: () => fetch(`http://127.0.0.1:${port}/other`, { method: 'POST' }),
      stop,
    }
  },
}

it.skipIf(missing !== undefined)(
  'models of other servers are released, and rolled back when other ones answer under their names',
  async () => {
    vi.stubEnv('TENURE_PRIVATE_HOSTS', '127.0.0.1')
    await followPythonProject({
      edit: (model) =>
        // Of the gate, what matters here is that it judges the answers of a server.
        model
          .replace('evaluation={', 'evaluation={"margins": {"auc": 0.05}, ')
          .replace(
            'soak="30 min"',
            'soak="1 d", shadow="off", qualification={"p99_us": 10_000_000}, watch={"every": "1 s"}',
          ),
      async whileUp({ url, key, project, asOf, tenure, keyOf }) {
        const approver = { TENURE_URL: url, TENURE_KEY: await keyOf('eva', 'approver') }
        const row = { unit_price: 90, pieces: 3, channel: 'web' }
        for (const [at, start] of Object.values(servers).entries()) {
          const version = `orders_v1.${at + 1}.0`
          const folder = await mkdtemp(join(project, 'elsewhere-'))
          const { name, files, replace, stop } = await start(folder, join(project, 'orders.csv'))
          try {
            await writeFile(join(project, 'endpoint.json'), JSON.stringify(files[0]))
            const register = ['versions', 'register', 'orders', '--artifact', 'endpoint.json']
            await tenure([...register, '--as-of', asOf, '--watch'])
            await expect
              .poll(() => tenure(['approve', 'orders'], approver).then(() => 'approved', String))
              .toBe('approved')
            const seen = new Map<string, number>()
            const ask = async () => {
              const response = await fetch(`${url}/v1/models/orders/predict`, {
                method: 'POST',
                headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
                body: JSON.stringify({ instances: [row], routing_key: `caller ${Math.random()}` }),
              })
              const { version: by, predictions } = (await response.json()) as {
                version: string
                predictions: { probability: number }[]
              }
              seen.set(by, predictions[0]!.probability)
              return seen.get(version)
            }
            await expect.poll(ask, { message: `${name} answers` }).toBeDefined()
            for (const file of files)
              expect((await askDirectly(file, row))[0], name).toBeCloseTo(seen.get(version)!, 6)

            await replace()
            const release = async () => {
              const listed = JSON.parse(await tenure(['releases', 'list', 'orders', '--json'])) as {
                releases: { version: string }[]
              }
              return JSON.stringify(listed.releases.find((each) => each.version === version))
            }
            const change = new RegExp(
              `the ${String(files[0]!['endpoint'])} endpoint at 127\\.0\\.0\\.1:\\d+ answers differently than at its registration`,
            )
            await expect.poll(release, { message: name }).toMatch(change)
            await expect
              .poll(async () => JSON.stringify(await release()), { message: name })
              .toContain('rolled_back')
            seen.clear()
            for (let caller = 0; caller < 30; caller++) await ask()
            expect([...seen.keys()], name).toEqual(['orders_v1.0.0'])
            if (name === 'the stand-in') {
              const newer = { ...files[0], model: 'newer' }
              const taken = { maxTokensField: 'max_completion_tokens', sendTemperature: false }
              for (const left of Object.keys(taken))
                await expect(askDirectly({ ...newer, ...taken, [left]: undefined }, row)).rejects.toThrow(
                  'answers 400',
                )
              expect(await askDirectly({ ...newer, ...taken }, row)).toEqual([expect.closeTo(0.5, 6)])
              await compareEmbeddings(String(files[0]!['address']))
            }
          } finally {
            await stop()
          }
        }
      },
    })
  },
)

/** A vector arrives as the numbers that it has, in tensors of both types. */
async function compareVectors(addresses: readonly string[], expected: number): Promise<void> {
  for (const address of addresses)
    for (const datatype of ['FP32', 'FP64'] as const)
      for (const more of [{ datatype }, { tensor: { name: 'x', datatype } }]) {
        const columns = [{ name: 'order', vector: 2 }]
        const file = { ...inference, address, model: 'vectors', columns, ...more }
        expect((await askDirectly(file, { order: '[52.5,3]' }))[0]).toBeCloseTo(expected, 6)
      }
}

/** The embeddings of the stand-in are real: near meanings have near numbers. */
async function compareEmbeddings(address: string): Promise<void> {
  const names = Array.from({ length: 256 }, (_, at) => `n${at}`)
  const file = {
    endpoint: 'openai',
    kind: 'embedding',
    address,
    model: 'wordllama',
    columns: [{ name: 'text', text: true }],
    dimensions: 256,
  }
  const embed = (given: string) => askDirectly(file, { text: given }, { kind: 'numbers', names })
  const [cat, kitten, tax] = [await embed('cat'), await embed('kitten'), await embed('tax')]
  const cosine = (a: number[], b: number[]) => a.reduce((sum, value, at) => sum + value * b[at]!, 0)
  expect(cosine(cat, kitten)).toBeGreaterThan(0.5)
  expect(cosine(cat, tax)).toBeLessThan(0.2)
}
