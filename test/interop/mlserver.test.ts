/** Tests that a model of a real MLServer is registered, judged, released and asked, and rolled back when another one answers under its name. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it, vi } from 'vitest'
import { checkout, systemEnvironment } from '../../temporal.config.ts'
import { followPythonProject } from '../support/training/python-project.ts'
import { pythonOrReason } from './packages.ts'

const found = await pythonOrReason('mlserver.txt')

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

it.skipIf('reason' in found)(
  'a model of MLServer is released, and rolled back when another one answers under its name',
  async () => {
    if ('reason' in found) return
    const [http_port, grpc_port, metrics_port] = [await freePort(), await freePort(), await freePort()]
    const address = `http://127.0.0.1:${http_port}`
    vi.stubEnv('TENURE_PRIVATE_HOSTS', '127.0.0.1')
    await followPythonProject({
      // A busy machine delays MLServer.
      edit: (text) =>
        text.replace(
          'soak="30 min"',
          'soak="1 d", shadow="off", qualification={"p99_us": 10_000_000}, watch={"every": "1 s"}',
        ),
      async whileUp({ url, key, project, asOf, tenure, keyOf }) {
        const folder = join(project, 'mlserver')
        await mkdir(folder)
        const train = (seed: string) =>
          promisify(execFile)(found.python, [
            join(checkout, 'test', 'interop', 'mlserver_model.py'),
            folder,
            join(project, 'orders.csv'),
            seed,
          ])
        await train('1')
        const settings = { host: '127.0.0.1', http_port, grpc_port, metrics_port, parallel_workers: 0 }
        await writeFile(join(folder, 'settings.json'), JSON.stringify(settings))
        const server = spawn(join(found.bin, 'mlserver'), ['start', folder], {
          env: systemEnvironment(),
          stdio: 'ignore',
        })
        try {
          await expect
            .poll(() =>
              fetch(`${address}/v2/models/orders/ready`).then(
                ({ ok }) => ok,
                () => false,
              ),
            )
            .toBe(true)
          const endpoint = {
            endpoint: 'open-inference',
            address,
            model: 'orders',
            revision: 'v1',
            pandas: true,
            columns: ['unit_price', 'pieces', { name: 'channel', text: true }],
            outputs: [{ from: 'predict_proba', at: 1 }],
            timeoutMs: 10_000,
          }
          await writeFile(join(project, 'endpoint.json'), JSON.stringify(endpoint))
          await tenure([
            'versions',
            'register',
            'orders',
            '--artifact',
            'endpoint.json',
            '--as-of',
            asOf,
            '--watch',
          ])
          const approver = { TENURE_URL: url, TENURE_KEY: await keyOf('eva', 'approver') }
          await expect
            .poll(() => tenure(['approve', 'orders'], approver).then(() => 'approved', String))
            .toBe('approved')

          const row = { unit_price: 90, pieces: 3, channel: 'web' }
          const answers = new Map<string, number>()
          const ask = async () => {
            const response = await fetch(`${url}/v1/models/orders/predict`, {
              method: 'POST',
              headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
              body: JSON.stringify({ instances: [row], routing_key: `caller ${Math.random()}` }),
            })
            const { version, predictions } = (await response.json()) as {
              version: string
              predictions: { probability: number }[]
            }
            answers.set(version, predictions[0]!.probability)
            return answers.get('orders_v1.1.0')
          }
          const releases = () => tenure(['releases', 'list', 'orders', '--json'])
          await expect.poll(ask).toBeDefined()
          const tensor = (name: string, value: string | number) => ({
            name,
            shape: [1, 1],
            data: [value],
            ...(typeof value === 'string'
              ? { datatype: 'BYTES', parameters: { content_type: 'str' } }
              : { datatype: 'FP64' }),
          })
          const direct = await fetch(`${address}/v2/models/orders/infer`, {
            method: 'POST',
            headers: { 'content-type': 'application/json' },
            body: JSON.stringify({
              parameters: { content_type: 'pd' },
              inputs: Object.entries(row).map(([name, value]) => tensor(name, value)),
              outputs: [{ name: 'predict_proba' }],
            }),
          })
          const { outputs } = (await direct.json()) as { outputs: { data: number[] }[] }
          expect(answers.get('orders_v1.1.0')).toBeCloseTo(outputs[0]!.data[1]!, 6)

          await train('2')
          await fetch(`${address}/v2/repository/models/orders/load`, { method: 'POST' })
          await expect
            .poll(releases)
            .toMatch(
              /the open-inference endpoint at 127\.0\.0\.1:\d+ answers differently than at its registration/,
            )
          await expect.poll(releases).toContain('rolled_back')
          answers.clear()
          for (let caller = 0; caller < 50; caller++) await ask()
          expect([...answers.keys()]).toEqual(['orders_v1.0.0'])
        } finally {
          server.kill('SIGKILL')
          await once(server, 'exit')
        }
      },
    })
  },
)
