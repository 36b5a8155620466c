/** Installs the packages of the interop tests, from PyPI, npm's registry and Debian, once into the cache of this machine. */
import { execFile } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { installerEnvironment } from '../../temporal.config.ts'
import { preparePython } from '../../store/python/python-environment.ts'
import { takeLock } from '@tenure/embedded/install/lock'
import { digestOfJson } from '../../store/artifacts.ts'
import { cacheDir, checkout, environmentWith } from '../../temporal.config.ts'

const installMs = 600_000

/** Returns the interpreter, the directory of the programs and the versions of the packages, or why they cannot be installed: without a network the tests are skipped. */
export async function pythonOrReason(
  requirements = 'requirements.txt',
): Promise<{ bin: string; python: string; packages: Record<string, string> } | { reason: string }> {
  try {
    const { python, packages } = await preparePython({
      requirements: join(checkout, 'test', 'interop', requirements),
      cache: cacheDir(),
      env: installerEnvironment(),
      signal: AbortSignal.timeout(installMs),
    })
    return { python, bin: dirname(python), packages }
  } catch (error) {
    return { reason: (error as Error).message.slice(0, 200) }
  }
}

/** Returns the folder of `test/interop/typescript` with its packages, or why they cannot be installed. */
export async function npmOrReason(): Promise<{ folder: string } | { reason: string }> {
  const source = join(checkout, 'test', 'interop', 'typescript')
  const lock = readFileSync(join(source, 'package-lock.json'), 'utf8')
  const folder = join(cacheDir(), 'interop', digestOfJson({ lock }).slice('sha256:'.length))
  const complete = join(folder, 'tenure-complete')
  mkdirSync(dirname(folder), { recursive: true })
  const release = await takeLock(`${folder}.lock`)
  try {
    if (existsSync(complete)) return { folder }
    rmSync(folder, { recursive: true, force: true })
    cpSync(source, folder, { recursive: true })
    // Vitest runs without the machine's certificates that Node would read.
    const env = environmentWith({ NODE_EXTRA_CA_CERTS: environmentWith({})['SSL_CERT_FILE'] })
    const options = { cwd: folder, env, timeout: installMs }
    await promisify(execFile)('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], options)
    writeFileSync(complete, '')
    return { folder }
  } catch (error) {
    return { reason: (error as Error).message.slice(0, 200) }
  } finally {
    release()
  }
}

/** Returns the server of Prometheus that Debian has, or why it cannot be had. */
export async function prometheusOrReason(): Promise<{ program: string } | { reason: string }> {
  const folder = join(cacheDir(), 'interop', 'prometheus')
  const program = join(folder, 'usr', 'bin', 'prometheus')
  mkdirSync(dirname(folder), { recursive: true })
  const release = await takeLock(`${folder}.lock`)
  try {
    if (existsSync(program)) return { program }
    const draft = `${folder}.draft`
    rmSync(draft, { recursive: true, force: true })
    mkdirSync(draft)
    const options = { cwd: draft, env: environmentWith({}), timeout: installMs }
    // apt compares it with the signed lists of Debian. A new machine has none.
    const download = () => promisify(execFile)('apt-get', ['download', 'prometheus'], options)
    await download().catch(async () => {
      await promisify(execFile)('apt-get', ['update'], options)
      await download()
    })
    await promisify(execFile)('dpkg', ['-x', readdirSync(draft)[0]!, '.'], options)
    renameSync(draft, folder)
    return { program }
  } catch (error) {
    return { reason: (error as Error).message.slice(0, 200) }
  } finally {
    release()
  }
}
