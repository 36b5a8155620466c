/**
 * Builds the programs for the tests of the chart and of the Gateway API: Helm, and the API server, controllers
 * and etcd of Kubernetes. Go builds them once into the cache, from modules whose hashes go.sum pins.
 */
import { execFile } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { takeLock } from '@tenure/embedded/install/lock'
import { faultOf, makePart } from '@tenure/embedded/install/part'
import { buildPrograms } from '@tenure/embedded/install/go/build'
import { cacheDir, environmentWith } from '../../../temporal.config.ts'

const run = promisify(execFile)
const modulesOf = (name: string): string => fileURLToPath(new URL(`./modules/${name}`, import.meta.url))

export const versions = {
  helm: '3.22.0',
  kubernetes: '1.34.0',
  etcd: '3.6.7',
  keda: '2.18.0',
  prometheus: '0.313.5',
} as const
const [major, minor] = versions.kubernetes.split('.')
const version = 'k8s.io/component-base/version'

const places = {
  helm: join(cacheDir(), 'kubernetes', `helm-${versions.helm}-${process.arch}`),
  cluster: join(
    cacheDir(),
    'kubernetes',
    `${versions.kubernetes}-etcd-${versions.etcd}-keda-${versions.keda}-${process.arch}`,
  ),
}

export interface ClusterPrograms {
  etcd: string
  apiServer: string
  controllers: string
  /** Files that define the resources of KEDA and of the Prometheus operator. */
  definitions: string[]
}

const helmProgram = join(places.helm, 'helm')

/** Returns the path of Helm; undefined when it is not yet built. */
export const findHelm = (): string | undefined => (existsSync(helmProgram) ? helmProgram : undefined)

export async function prepareHelm(say: (line: string) => void): Promise<string> {
  await preparePart(places.helm, async (draft) => {
    const build = { draft, env: environmentWith({}), modules: modulesOf('helm'), packages: 970 }
    await buildPrograms(['helm.sh/helm/v3/cmd/helm'], { ...build, update: sometimes(say, 'Helm') })
  })
  return helmProgram
}

export async function prepareCluster(say: (line: string) => void): Promise<ClusterPrograms> {
  await preparePart(places.cluster, async (draft) => {
    for (const file of await downloadDefinitions()) copyFileSync(file, join(draft, file.split('/').at(-1)!))
    await buildPrograms(
      ['kube-apiserver', 'kube-controller-manager']
        .map((name) => `k8s.io/kubernetes/cmd/${name}`)
        .concat('go.etcd.io/etcd/server/v3'),
      {
        draft,
        env: environmentWith({}),
        modules: modulesOf('kubernetes'),
        // Without them the version cannot be parsed.
        linked: `-X ${version}.gitVersion=v${versions.kubernetes} -X ${version}.gitMajor=${major} -X ${version}.gitMinor=${minor}`,
        packages: 2_440,
        update: sometimes(say, 'Kubernetes'),
      },
    )
  })
  const at = (name: string) => join(places.cluster, name)
  return {
    // Go names a program after the last part of its path without a version.
    etcd: at('server'),
    apiServer: at('kube-apiserver'),
    controllers: at('kube-controller-manager'),
    definitions: Object.values(definitionFiles).map((path) => at(path.split('/').at(-1)!)),
  }
}

/** Returns the files that define the resources of the Gateway API. */
export async function gatewayDefinitions(): Promise<string[]> {
  const module = 'sigs.k8s.io/gateway-api'
  const folder = join((await downloadModules([module]))[module]!, 'config', 'crd', 'standard')
  return (
    readdirSync(folder)
      // One file is a policy.
      .filter((file) => file.endsWith('.yaml') && !file.includes('_vap_'))
      .map((file) => join(folder, file))
  )
}

/** Module → the file in it. */
const definitionFiles = {
  'github.com/kedacore/keda/v2': 'config/crd/bases/keda.sh_scaledobjects.yaml',
  'github.com/prometheus-operator/prometheus-operator':
    'example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml',
} as const

async function downloadDefinitions(): Promise<string[]> {
  const modules = await downloadModules(Object.keys(definitionFiles))
  return Object.entries(definitionFiles).map(([module, path]) => join(modules[module]!, path))
}

/** Downloads modules whose files are only read, and returns the folder of each. Go compares them with go.sum. */
async function downloadModules(paths: readonly string[]): Promise<Record<string, string>> {
  const { stdout } = await run('go', ['mod', 'download', '-json', ...paths], {
    cwd: modulesOf('definitions'),
    env: environmentWith({ GOFLAGS: '-mod=readonly' }),
  })
  const modules = JSON.parse(`[${stdout.replaceAll('}\n{', '},{')}]`) as { Path: string; Dir: string }[]
  return Object.fromEntries(modules.map(({ Path, Dir }) => [Path, Dir]))
}

async function preparePart(directory: string, make: (draft: string) => Promise<void>): Promise<void> {
  if ((await faultOf(directory)) === undefined) return
  mkdirSync(dirname(directory), { recursive: true })
  const release = await takeLock(join(dirname(directory), 'lock'))
  try {
    if ((await faultOf(directory)) !== undefined) await makePart(directory, make)
  } finally {
    release()
  }
}

/** Prints a line for every hundred packages. */
function sometimes(say: (line: string) => void, name: string): (text: string) => void {
  let told = ''
  return (text) => {
    const hundreds = /^(\d+)\d\d of/.exec(text)?.[1]
    if (hundreds === undefined || hundreds === told) return
    told = hundreds
    say(`building ${name}, once for this machine: ${text}`)
  }
}
