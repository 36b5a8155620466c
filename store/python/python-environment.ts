/**
 * Makes the Python environment of a requirements file once, in the cache of this machine. Its name is the digest of the file, of the local
 * packages that it names and of the interpreter, so a changed file gets a new environment and no training changes another's environment.
 */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createHash, randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { access, mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { DomainError } from '../../domain/errors.ts'
import { visibleText } from '../../domain/visible-text.ts'
import { takeLock } from '@tenure/embedded/install/lock'
import { digestOfJson } from '../artifacts.ts'

export interface PythonEnvironment {
  /** The path of the interpreter. */
  python: string
  /** The digest of the interpreter and of every installed package, for the lineage. */
  digest: string
  /** Package → version, including `python`. */
  packages: Record<string, string>
}

export interface EnvironmentOptions {
  /** The requirements file. Absent: the packages of the interpreter. */
  requirements?: string
  /** A command or an absolute path. Default: `python3`. */
  interpreter?: string
  /** The cache of this machine. */
  cache: string
  /** The environment variables of the installer: proxies and package indexes. */
  env: Record<string, string | undefined>
  signal: AbortSignal
  /** Receives what the installer does, as it says it. */
  onStep?: (step: string) => void
  /** Receives all output of an installer that failed; the error has its last lines. */
  onFailure?: (output: string) => void
  /** Whether packages without a built wheel are refused. */
  onlyBuilt?: boolean
}

const run = promisify(execFile)
const maxOutputBytes = 16 * 1_048_576
const makeMs = 3_600_000
const askMs = 60_000

/** Prints the interpreter, its version and its packages. */
const describe = `
import importlib.metadata as m, json, platform, sys
packages = {str(d.metadata["Name"]).lower(): d.version for d in m.distributions() if d.metadata["Name"]}
print(json.dumps({"python": sys.executable, "base": sys._base_executable, "version": platform.python_version(), "platform": platform.platform(), "packages": packages}))
`

interface Described {
  python: string
  base: string
  version: string
  platform: string
  packages: Record<string, string>
}

/** Throws `environment_failed`, naming what is missing or the last lines of the installer. */
export async function preparePython(options: EnvironmentOptions): Promise<PythonEnvironment> {
  const { requirements, interpreter: named = 'python3', cache } = options
  const system = await describePython(named, options)
  if (requirements === undefined) return remember(environmentOf(system), cache)
  const interpreter = await findFolder(system, { ...options, requirements })
  return remember(environmentOf(await describePython(interpreter, options)), cache)
}

/** Returns the interpreter of the environment of a requirements file, which it makes if there is none. Does not start it. */
async function findFolder(
  system: Described,
  options: EnvironmentOptions & { requirements: string },
): Promise<string> {
  const { requirements, cache } = options
  const path = resolve(requirements)
  const [text, ...included] = await readRequirements(path)
  const local = await digestsOfLocal([text!, ...included], dirname(path))
  const { base, version, platform } = system
  const files = {
    requirements: text,
    ...(included.length === 0 ? {} : { included }),
    ...(local.length === 0 ? {} : { local }),
  }
  const name = digestOfJson({ ...files, base, version, platform }).slice('sha256:'.length)
  const folder = join(cache, 'python', name)
  const interpreter = join(folder, 'bin', 'python')
  if (!(await isComplete(folder))) {
    await mkdir(join(cache, 'python'), { recursive: true, mode: 0o700 }).catch(({ message }: Error) => {
      throw new DomainError('environment_failed', `no environment can be made in the cache: ${message}`)
    })
    const { onStep } = options
    const say = onStep && ((step: string) => onStep(`installing ${basename(path)}: ${step}`))
    // Two installers must not write to the same folder.
    const release = await lockUnlessAborted(`${folder}.lock`, options.signal, () =>
      say?.('waiting for another process that installs it'),
    )
    try {
      const from = { ...options, onStep: say, requirements: path, interpreter: system.python }
      if (!(await isComplete(folder))) await makeEnvironment(folder, from)
    } finally {
      release()
    }
  }
  await noteUse(interpreter)
  return interpreter
}

/** Marks the environment of an interpreter as used now, so that it is kept. Does nothing for an interpreter of the system. */
export async function noteUse(interpreter: string): Promise<void> {
  const now = new Date()
  await utimes(join(dirname(dirname(interpreter)), marker), now, now).catch(() => {})
}

/**
 * Removes environments that were not used for this time, except those of `needed`: digests of interpreter and packages. Returns how many. One
 * that is asked for later is made again.
 */
export async function pruneEnvironments(
  cache: string,
  { unusedMs, needed }: { unusedMs: number; needed: readonly string[] },
): Promise<number> {
  const root = join(cache, 'python')
  const kept = new Set(
    await Promise.all(needed.map((digest) => readFile(noteOf(cache, digest), 'utf8').catch(() => ''))),
  )
  let removed = 0
  for (const name of await readdir(root).catch((): string[] => [])) {
    const folder = join(root, name)
    const isOld = async () => {
      const used = await stat(join(folder, marker)).catch(() => undefined)
      return used !== undefined && Date.now() - used.mtimeMs > unusedMs
    }
    if (kept.has(join(folder, 'bin', 'python')) || !(await isOld())) continue
    const release = await takeLock(`${folder}.lock`)
    try {
      if (!(await isOld())) continue
      // Without it, the rest counts as an attempt that failed.
      await rm(join(folder, marker))
      await rm(folder, { recursive: true, force: true })
      removed++
    } finally {
      release()
    }
  }
  return removed
}

/** Notes where an environment is, by its digest, so that a model trained in it is served in it. */
async function remember(environment: PythonEnvironment, cache: string): Promise<PythonEnvironment> {
  const file = noteOf(cache, environment.digest)
  await mkdir(dirname(file), { recursive: true, mode: 0o700 }).catch(() => {})
  // Without the note, the environment is made again.
  await writeWhole(file, environment.python).catch(() => {})
  return environment
}

/** Another process never reads a part of the text. */
async function writeWhole(file: string, text: string): Promise<void> {
  const part = `${file}.${randomUUID()}`
  await writeFile(part, text)
  await rename(part, file)
}

/** An interpreter of the system may have got other packages since. */
const stillHas = async (python: string, digest: string, options: EnvironmentOptions): Promise<boolean> =>
  python.startsWith(join(options.cache, 'python')) ||
  environmentOf(await describePython(python, options)).digest === digest

const noteOf = (cache: string, digest: string): string =>
  join(cache, 'python', `of-${digest.slice('sha256:'.length)}`)

/** What belongs to the interpreter or to Tenure, and is not installed for a model. */
const notInstalled = new Set(['pip', 'setuptools', 'tenure', 'uv', 'wheel'])

/**
 * Returns the interpreter of an environment with exactly these packages: one that this machine has, or else one that it makes. Throws
 * `environment_failed`, naming what is missing or the last lines of the installer.
 */
export async function findPython(
  { python, packages }: { python: string; packages: Readonly<Record<string, string>> },
  options: Omit<EnvironmentOptions, 'requirements' | 'interpreter'>,
): Promise<string> {
  const { cache } = options
  const digest = digestOfJson({ ...packages, python })
  const known = await readFile(noteOf(cache, digest), 'utf8').catch(() => '')
  if (known !== '' && (await exists(known))) {
    // First, so that it is not removed after it was found.
    await noteUse(known)
    if (await stillHas(known, digest, options)) return known
  }
  const [major, minor] = python.split('.')
  const interpreter = `python${major}.${minor}`
  const requirements = join(cache, 'python', `of-${digest.slice('sha256:'.length)}.txt`)
  const lines = Object.entries(packages).filter(([name]) => !notInstalled.has(name))
  await mkdir(dirname(requirements), { recursive: true, mode: 0o700 })
  await writeWhole(requirements, lines.map(([name, version]) => `${name}==${version}\n`).join(''))
  // Reading an interpreter's packages runs the code of some of them, and building a package runs its own.
  const from = { ...options, requirements, interpreter, onlyBuilt: true }
  const made = describePython(interpreter, options).then((system) => findFolder(system, from))
  return made.catch((error: Error): never => {
    throw new DomainError(
      'environment_failed',
      `the environment of a model that Python ${python} has saved cannot be made: ${error.message}`,
    )
  })
}

const inclusion = /^\s*(?:-r|-c|--requirement|--constraint)(?:\s*=\s*|\s+|(?=[^\s-]))["']?([^\s"'#]+)/
const maxIncluded = 100

/** The texts of a requirements file and of all files that it includes: a change in any of them makes a new environment. */
async function readRequirements(path: string): Promise<string[]> {
  const texts = new Map<string, string>()
  const visit = async (file: string, from?: string): Promise<void> => {
    if (texts.has(file) || texts.size > maxIncluded) return
    const text = await readFile(file, 'utf8').catch((error: Error) => {
      if (from === undefined) throw error
      throw new DomainError('environment_failed', `${from} includes ${file}, which cannot be read`)
    })
    texts.set(file, text)
    for (const line of text.split('\n')) {
      const [, name] = inclusion.exec(line) ?? []
      if (name !== undefined && !name.includes('://')) await visit(resolve(dirname(file), name), file)
    }
  }
  await visit(path)
  return [...texts.values()]
}

/** Matches a requirement that is a path: `./pkg`, `pkg/`, `/opt/pkg.whl`, `-e pkg`, `name @ file:///opt/pkg`. */
const localRequirement =
  /^(?:(?:-e|--editable)(?:\s*=\s*|\s+)(?!\w+\+|\w+:\/\/)|[\w.[\],-]+\s*@\s*(?=file:)|(?=file:|\.{0,2}\/|[\w.-]+\/|[^\s:]+\.(?:whl|zip|tar\.\w+)(?:\s|$)))["']?([^\s"';[]+)/

/**
 * The digests of the local packages that the requirements name, relative to `folder`. Throws `environment_failed` for a folder: pip would
 * not install it again when a file in it changes.
 */
async function digestsOfLocal(texts: readonly string[], folder: string): Promise<string[]> {
  const names = texts
    .flatMap((text) => text.split('\n'))
    .flatMap((line) => localRequirement.exec(line.trim())?.[1] ?? [])
  return Promise.all(
    names.map(async (name) => {
      const path = name.startsWith('file:') ? fileURLToPath(new URL(name, 'file:///')) : resolve(folder, name)
      const isFolder = await stat(path).then(
        (found) => found.isDirectory(),
        () => {
          throw new DomainError(
            'environment_failed',
            `the requirements name ${name}, and there is no ${path}: paths are relative to the requirements file`,
          )
        },
      )
      if (isFolder)
        throw new DomainError(
          'environment_failed',
          `the requirements name the folder ${name}, so a change of its files would go unnoticed: put the package beside the script, from where Python imports it, or build a wheel and name that file`,
        )
      return createHash('sha256')
        .update(await readFile(path))
        .digest('hex')
    }),
  )
}

function environmentOf({ python, version, packages }: Described): PythonEnvironment {
  const all = { ...packages, python: version }
  return { python, packages: all, digest: digestOfJson(all) }
}

/** Waits for a lock until the signal aborts. A lock that is obtained afterwards is released at once. */
async function lockUnlessAborted(path: string, signal: AbortSignal, onWait: () => void): Promise<() => void> {
  signal.throwIfAborted()
  const taking = takeLock(path, onWait)
  const stopped = new AbortController()
  const aborted = once(signal, 'abort', { signal: stopped.signal }).then(
    () => undefined,
    () => undefined,
  )
  const release = await Promise.race([taking, aborted])
  stopped.abort()
  if (release !== undefined) return release
  void taking.then((late) => late())
  throw new Error('cancelled')
}

/** Written last. */
const marker = 'tenure-complete'
const isComplete = (folder: string): Promise<boolean> => exists(join(folder, marker))

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )

/** First removes what an earlier attempt left. */
async function makeEnvironment(
  folder: string,
  options: EnvironmentOptions & { requirements: string; interpreter: string },
): Promise<void> {
  const { requirements, interpreter } = options
  const python = join(folder, 'bin', 'python')
  const cwd = dirname(requirements)
  const built = options.onlyBuilt === true ? ['--only-binary', ':all:'] : []
  await rm(folder, { recursive: true, force: true })
  options.onStep?.('making the environment')
  try {
    if (await hasUv(options)) {
      await call('uv', ['venv', '--quiet', '--python', interpreter, folder], options)
      const uv = ['pip', 'install', ...built, '--python', python, '-r', requirements]
      await call('uv', uv, options, { cwd, onLine: sayStep(options) })
    } else {
      await call(interpreter, ['-m', 'venv', folder], options)
      const pip = [
        '-m',
        'pip',
        'install',
        '--progress-bar',
        'off',
        '--disable-pip-version-check',
        '--no-input',
        ...built,
        '-r',
        requirements,
      ]
      await call(python, pip, options, { cwd, onLine: sayStep(options) })
    }
    // A service keeps its files to itself, and the process of a model is another user.
    await call('chmod', ['-R', 'a+rX', folder], options)
    await writeFile(join(folder, marker), '')
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
}

/** Passes on what pip or uv says that it does. uv knows the number of packages first; pip has it when all are collected. */
function sayStep({ onStep }: EnvironmentOptions): ((line: string) => void) | undefined {
  if (onStep === undefined) return undefined
  let collected = 0
  let resolved: string | undefined
  return (line) => {
    resolved ??= /^Resolved (\d+ packages?) /.exec(line)?.[1]
    const together = /^Installing collected packages: (.+)/.exec(line)?.[1]?.split(', ')
    if (together !== undefined)
      onStep(
        shortened(`${together.length} package${together.length === 1 ? '' : 's'}: ${together.join(', ')}`),
      )
    const [, verb, what = '', size = ''] = actions.exec(line) ?? []
    if (verb === undefined) return
    const isCollected = verb === 'Collecting' || verb === 'Processing'
    if (isCollected) collected++
    const nth = isCollected ? `, package ${collected}` : resolved === undefined ? '' : `, of ${resolved}`
    onStep(`${verb.toLowerCase()} ${basename(what).replace(wheelName, '$1 $2')}${size}${nth}`)
  }
}

const actions =
  /^\s*(Collecting|Processing|Downloading|Building)(?: wheel for)? (?!wheels for|.* finished with)(\S+)( \(\d[\d.]* ?\w+\))?/
const wheelName = /^([^-]+)-([^-]+)-.*\.whl.*$/
const maxLineLength = 200
const shortened = (line: string): string =>
  line.length > maxLineLength ? `${line.slice(0, maxLineLength - 1)}…` : line

const hasUv = (options: EnvironmentOptions): Promise<boolean> =>
  call('uv', ['--version'], options).then(
    () => true,
    () => false,
  )

async function describePython(python: string, options: EnvironmentOptions): Promise<Described> {
  return JSON.parse(await call(python, ['-c', describe], options, { timeout: askMs })) as Described
}

/** Returns the standard output. */
async function call(
  file: string,
  argv: readonly string[],
  { env, signal, onFailure }: EnvironmentOptions,
  { timeout = makeMs, cwd, onLine }: { timeout?: number; cwd?: string; onLine?: (line: string) => void } = {},
): Promise<string> {
  try {
    // An installer that outlives this process would write beside the next one.
    const isTied = argv.includes('install') && existsSync(tie)
    const command = isTied ? [tie, '--pdeathsig', 'KILL', '--', file, ...argv] : [file, ...argv]
    const running = run(command[0]!, command.slice(1), {
      env,
      cwd,
      signal,
      timeout,
      maxBuffer: maxOutputBytes,
      killSignal: 'SIGKILL',
    })
    // pip tells its steps on one of them, uv on the other.
    const { stdout, stderr } = running.child
    for (const input of onLine === undefined ? [] : [stdout!, stderr!])
      createInterface({ input }).on('line', (line) => onLine?.(visibleText(line)))
    return (await running).stdout
  } catch (error) {
    signal.throwIfAborted()
    const failed = error as { code?: unknown; stdout?: string; stderr?: string; message: string }
    const { code, stdout = '', stderr = '', message } = failed
    if (argv.includes('install')) onFailure?.(`${stdout}${stderr}`)
    throw new DomainError('environment_failed', reasonFor(file, argv, code === 'ENOENT', stderr || message))
  }
}

const tie = '/usr/bin/setpriv'
const keptLines = 6
const keptVersions = 3

/** pip lists all versions of a package that has not the wanted one, from the oldest. */
const withoutOldVersions = (line: string): string =>
  line.replace(/\(from versions: (.*)\)/, (all, listed: string) => {
    const newest = listed.split(', ').slice(-keptVersions)
    return newest.join(', ') === listed ? all : `(newest versions: ${newest.join(', ')})`
  })

function reasonFor(file: string, argv: readonly string[], isAbsent: boolean, output: string): string {
  const lines = visibleText(output)
    .split('\n')
    .filter((line) => line.trim() !== '')
    .slice(-keptLines)
    .map((line) => shortened(withoutOldVersions(line.trimEnd())))
  if (isAbsent) return `there is no ${file} on this machine`
  if (/No module named '?(venv|ensurepip)|ensurepip is not available/.test(output))
    return `${file} has no venv: install the package python3-venv\n${lines.join('\n')}`
  if (/No module named '?pip/.test(output)) return `${file} has no pip: install the package python3-pip`
  if (argv.includes('install'))
    return `the packages of the requirements cannot be installed (the log of the worker has all of the output):\n${lines.join('\n')}`
  return `${file} ${argv.slice(0, 2).join(' ').slice(0, 100)} failed:\n${lines.join('\n')}`
}
