/** Tests that no adapter moves what it was not given, and what the adapters of Kubernetes refuse to read, with stand-ins for the gateways. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { versionsIn, type Gateway, type Traffic } from '../../../domain/serving/gateway.ts'
import { openGateway } from '../../../store/gateways/open.ts'
import { openSagemaker } from '../../../store/gateways/sagemaker.ts'

const folder = mkdtempSync(join(tmpdir(), 'tenure-adapters-'))
beforeAll(() => {
  writeFileSync(join(folder, 'token'), 'token')
  writeFileSync(join(folder, 'ca.crt'), '')
})
afterAll(() => rmSync(folder, { recursive: true }))

const listen = async (server: Server): Promise<string> => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}
const access = {
  privateHosts: ['127.0.0.1'],
  secrets: folder,
  metricSources: join(folder, 'none.json'),
}
const metrics = { source: 'p', requests: 'r{v="$version"}', status: 'code', settleMs: 1_000 }

/** Serves objects by their paths, and keeps the patches. */
async function kubernetes(objects: Record<string, object>, traffic: object) {
  const patches: { path: string; value: unknown }[][] = []
  const server = createHttpServer((request, response) => {
    let body = ''
    request.on('data', (part) => (body += String(part)))
    request.on('end', () => {
      if (request.method === 'PATCH') patches.push(JSON.parse(body) as (typeof patches)[number])
      response.end(JSON.stringify(objects[request.url!.split('?')[0]!] ?? { items: [] }))
    })
  })
  const cluster = { url: `http://${await listen(server)}`, folder }
  const gateway = openGateway({ namespace: 'default', name: 'roses', metrics, ...traffic } as Traffic, {
    ...access,
    cluster,
  })
  return { gateway, moved: () => patches.flat().map(({ path, value }) => `${path} ${String(value)}`) }
}

const route = (backendRefs: object[]) =>
  kubernetes(
    {
      '/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes/roses': {
        metadata: { generation: 3 },
        spec: { rules: [{ backendRefs }] },
      },
    },
    { gateway: 'http_route', rule: 0 },
  )
const canary = (latest: string, { applied = latest, percent = 10 } = {}) =>
  kubernetes(
    {
      '/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices/roses': {
        metadata: { generation: 3 },
        spec: {
          predictor: { canaryTrafficPercent: percent, annotations: { 'tenure/version': applied } },
        },
        status: {
          components: { predictor: { latestCreatedRevision: 'r2', latestRolledoutRevision: 'r1' } },
        },
      },
      '/apis/serving.knative.dev/v1/namespaces/default/revisions/r1': {
        metadata: { annotations: { 'tenure/version': 'roses_v1.0.0' } },
      },
      '/apis/serving.knative.dev/v1/namespaces/default/revisions/r2': {
        metadata: { annotations: { 'tenure/version': latest } },
      },
    },
    { gateway: 'kserve' },
  )

/** The weights of two versions of roses, and of one of lilies; of roses and lilies where there are two alone. */
const opened: Record<Traffic['gateway'], () => Promise<{ gateway: Gateway; moved: () => string[] }>> = {
  async haproxy() {
    const servers = ['roses_v1.0.0', 'roses_v1.1.0', 'lilies_v2.0.0']
    const moved: string[] = []
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => {})
      socket.on('data', (commands) => {
        moved.push(...[...String(commands).matchAll(/set weight (\S+ \d+)/g)].map(([, each]) => each!))
        const rows = (of: (name: string) => string) => servers.map(of).join('\n')
        socket.end(`# pxname,svname,weight,stot
${rows((name) => `b,${name},50,0`)}

# be_id be_name srv_id srv_name srv_op_state srv_admin_state srv_uweight srv_check_state srv_check_port srv_check_addr
${rows((name) => `1 b 1 ${name} 2 0 50 0 80 -`)}

`)
      })
    })
    const address = await listen(server)
    const gateway = openGateway({ gateway: 'haproxy', address, backend: 'b' }, access)
    return { gateway, moved: () => moved }
  },
  sagemaker() {
    const moved: string[] = []
    const gateway = openSagemaker(
      { gateway: 'sagemaker', region: 'eu-west-1', endpoint: 'roses', secret: 'aws' },
      ({ body }) => {
        const { DesiredWeightsAndCapacities: ordered = [] } = JSON.parse(String(body)) as {
          DesiredWeightsAndCapacities?: { VariantName: string; DesiredWeight: number }[]
        }
        moved.push(...ordered.map((each) => `${each.VariantName} ${each.DesiredWeight}`))
        const answer = {
          EndpointStatus: 'InService',
          LastModifiedTime: 1,
          ProductionVariants: ['roses-v1-0-0', 'roses-v1-1-0', 'lilies-v2-0-0'].map((VariantName) => ({
            VariantName,
            CurrentWeight: 50,
          })),
          MetricDataResults: [],
        }
        return Promise.resolve({ status: 200, body: Buffer.from(JSON.stringify(answer)), headers: {} })
      },
    )
    return Promise.resolve({ gateway, moved: () => moved })
  },
  http_route: () =>
    route(
      ['roses-v1-0-0', 'roses-v1-1-0', 'lilies-v2-0-0', 'api-v1-0-0'].map((name) => ({ name, weight: 50 })),
    ),
  kserve: () => canary('lilies_v2.0.0'),
}

it.each(Object.entries(opened))('%s moves no version of another model', async (_kind, open) => {
  const { gateway, moved } = await open()
  const { versions } = versionsIn(await gateway.read(), { model: 'roses', place: 'p' })
  await gateway.set({ weights: { 'roses_v1.0.0': 100 }, leased: [] }, versions).catch(() => undefined)
  expect(moved().filter((each) => /lilies|api|backendRefs\/[23]|canary/.test(each))).toEqual([])
  if (versions.length > 1) expect(moved()).toContainEqual(expect.stringMatching(/100$/))
})

it('of an HTTPRoute: a backend of another kind, group or namespace is not the Service of a version', async () => {
  const name = 'roses-v1-0-0'
  const { gateway } = await route([
    { name },
    { name, kind: 'InferencePool', group: 'inference.networking.k8s.io' },
    { name, group: 'example.org' },
    { name, namespace: 'other' },
  ])
  expect((await gateway.read()).map((each) => each.name)).toEqual([
    'roses_v1.0.0',
    `InferencePool.inference.networking.k8s.io default/${name}`,
    `Service.example.org default/${name}`,
    `Service other/${name}`,
  ])
})

it('of KServe: the percentage is not that of a revision from before the version that was applied', async () => {
  const { gateway } = await canary('roses_v1.1.0', { applied: 'roses_v1.2.0', percent: 0 })
  await expect(gateway.read()).rejects.toThrow(/KServe has not made the revision of roses_v1\.2\.0 yet/)
  const made = await canary('roses_v1.1.0')
  expect(await made.gateway.read()).toMatchObject([{ name: 'roses_v1.1.0', weight: 10 }, { weight: 90 }])
})
