import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  findPython,
  noteUse,
  preparePython,
  pruneEnvironments,
} from '../../../store/python/python-environment.ts'

/**
 * A shell script in place of `python3`, so that no package is downloaded: `-m venv` makes a folder with a copy of the script, `-m pip`
 * appends to a log, and `-c` prints its description.
 */
const fakePython = (root: string) => `#!/bin/sh
case "$1 $2" in
  "-m venv") [ -e "${root}/no-venv" ] && { echo "No module named venv" >&2; exit 1; }
    mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && chmod -R go= "$3" ;;
  "-m pip") echo "$0" >> "${root}/installs"; sleep 0.3
    [ -e "${root}/no-network" ] && { cat "${root}/no-network" >&2; exit 1; }
    cat "${root}/steps" 2>/dev/null
    exit 0 ;;
  "-c "*) echo '{"python": "'"$0"'", "base": "/usr/bin/python3", "version": "3.11.7", "platform": "Linux", "packages": {"lightgbm": "4.7.0"}}' ;;
esac
`

let root: string
let bin: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tenure-python-'))
  bin = join(root, 'bin')
  await mkdir(bin)
  await writeFile(join(bin, 'python3'), fakePython(root))
  await chmod(join(bin, 'python3'), 0o755)
  await writeFile(join(bin, 'python3.12'), fakePython(root).replaceAll('3.11.7', '3.12.1'))
  await chmod(join(bin, 'python3.12'), 0o755)
})
afterAll(() => rm(root, { recursive: true }))

let requirements = ''
let interpreter: string | undefined
let steps: string[] = []
let failedWith = ''
const prepare = (path = `${bin}:/usr/bin:/bin`, cache = 'cache', signal = new AbortController().signal) =>
  preparePython({
    requirements: requirements === '' ? undefined : requirements,
    interpreter,
    cache: join(root, cache),
    env: { PATH: path, HOME: root },
    signal,
    onStep: (step) => void steps.push(step),
    onFailure: (output) => void (failedWith = output),
  })
const write = async (text: string) => {
  requirements = join(root, 'requirements.txt')
  await writeFile(requirements, text)
}
const installs = async () =>
  (await readFile(join(root, 'installs'), 'utf8').catch(() => '')).split('\n').length - 1
const failing = async (name: string, work: () => Promise<void>, text = '') => {
  await writeFile(join(root, name), text)
  await work()
  await rm(join(root, name))
}

describe('the Python environment of a training', () => {
  it('is that of python3 without requirements', async () => {
    requirements = ''
    expect(await prepare()).toEqual({
      python: join(bin, 'python3'),
      packages: { lightgbm: '4.7.0', python: '3.11.7' },
      digest: expect.stringMatching(/^sha256:/),
    })
    expect(await installs()).toBe(0)
  })

  it('is made once for its requirements, also when two trainings ask at the same time', async () => {
    await write('lightgbm==4.7.0\n')
    const [first, second] = await Promise.all([prepare(), prepare()])
    expect(first).toEqual(second)
    expect(first.python).toMatch(/\/cache\/python\/[0-9a-f]{64}\/bin\/python$/)
    expect(await installs()).toBe(1)
    expect(await prepare()).toEqual(first)
    expect(await installs()).toBe(1)
    // The process of a model is another user than a service, which keeps its files to itself.
    expect((await stat(first.python)).mode & 0o777).toBe(0o755)
    await write('lightgbm==4.6.0\n')
    expect((await prepare()).python).not.toBe(first.python)
    expect(await installs()).toBe(2)
  })

  it('has the interpreter of the model file, and another digest for another version of Python', async () => {
    requirements = ''
    const usual = await prepare()
    interpreter = 'python3.12'
    expect(await prepare()).toEqual({
      python: join(bin, 'python3.12'),
      packages: { lightgbm: '4.7.0', python: '3.12.1' },
      digest: expect.not.stringContaining(usual.digest),
    })
    await write('lightgbm==4.7.0\n')
    const made = await prepare()
    interpreter = join(bin, 'python3')
    const other = await prepare()
    expect(made.packages['python']).toBe('3.12.1')
    expect(other.packages['python']).toBe('3.11.7')
    expect(made.python).not.toBe(other.python)
    interpreter = 'python3.99'
    await expect(prepare()).rejects.toThrow('there is no python3.99 on this machine')
    interpreter = undefined
  })

  it('is rebuilt when a file that its requirements include has changed', async () => {
    const common = join(root, 'common.txt')
    await writeFile(common, 'numpy==2.4.5\n')
    await writeFile(join(root, 'base.txt'), '--constraint=common.txt # pinned\n')
    await write('-r base.txt\nlightgbm==4.2.0\n')
    const first = await prepare()
    expect(await prepare()).toEqual(first)
    await writeFile(common, 'numpy==2.4.6\n')
    expect((await prepare()).python).not.toBe(first.python)
    await rm(common)
    await expect(prepare()).rejects.toMatchObject({
      code: 'environment_failed',
      message: `${join(root, 'base.txt')} includes ${common}, which cannot be read`,
    })
  })

  it('is made again when a wheel that its requirements name has changed, and refuses a folder', async () => {
    await mkdir(join(root, 'own'), { recursive: true })
    const wheel = join(root, 'own', 'own-1.0-py3-none-any.whl')
    await writeFile(wheel, 'one')
    await write('lightgbm==4.1.0\nown/own-1.0-py3-none-any.whl\n')
    const first = await prepare()
    expect(await prepare()).toEqual(first)
    await writeFile(wheel, 'two')
    expect((await prepare()).python).not.toBe(first.python)
    for (const line of ['./own', '-e own', 'own/', `own @ file://${join(root, 'own')}`, join(root, 'own')]) {
      await write(`lightgbm==4.1.0\n${line}\n`)
      await expect(prepare(), line).rejects.toThrow(/^the requirements name the folder /)
    }
    await write('./absent.whl\n')
    await expect(prepare()).rejects.toThrow(`there is no ${join(root, 'absent.whl')}`)
    await write(
      'git+https://host.example/a/b.git\na @ https://host.example/a.whl\n--index-url https://host.example/x\n',
    )
    await prepare()
  })

  it.each([
    {
      installer: 'pip',
      says: `Collecting numpy (from -r requirements.txt (line 1))
  Downloading numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.whl (16.9 MB)
Processing ./own-1.0.tar.gz (from -r requirements.txt (line 2))
  Preparing metadata (pyproject.toml): started
Building wheels for collected packages: own
  Building wheel for own (pyproject.toml): started
  Building wheel for own (pyproject.toml): finished with status 'done'
Installing collected packages: numpy, own
Successfully installed numpy-2.4.6 own-1.0`,
      expected: [
        'collecting numpy, package 1',
        'downloading numpy 2.4.6 (16.9 MB)',
        'processing own-1.0.tar.gz, package 2',
        'building own',
        '2 packages: numpy, own',
      ],
    },
    {
      installer: 'uv',
      says: `Using Python 3.11.7 environment at: u
Resolved 2 packages in 226ms
   Building own==1.0
Downloading numpy (16.1MiB)
 Downloaded numpy
Prepared 2 packages in 447ms
Installed 2 packages in 40ms
 + numpy==2.4.6`,
      expected: ['building own==1.0, of 2 packages', 'downloading numpy (16.1MiB), of 2 packages'],
    },
  ])('says what $installer does while it is made', async ({ installer, says, expected }) => {
    await write(`${installer}-says==1\n`)
    await writeFile(join(root, 'steps'), says)
    const uv = join(bin, 'uv')
    if (installer === 'uv') {
      const script = `#!/bin/sh\ncase "$1" in venv) mkdir -p "$5/bin" && cp "$4" "$5/bin/python" ;; pip) cat "${root}/steps" >&2 ;; esac\n`
      await writeFile(uv, script, { mode: 0o755 })
    }
    steps = []
    await prepare()
    expect(steps).toEqual(
      ['making the environment', ...expected].map((step) => `installing requirements.txt: ${step}`),
    )
    await rm(uv, { force: true })
    await rm(join(root, 'steps'))
  })

  it('is no longer waited for when the training is cancelled', async () => {
    await write('lightgbm==4.3.0\n')
    const first = prepare()
    const stopping = new AbortController()
    await pause(100)
    const second = prepare(undefined, undefined, stopping.signal)
    await pause(100)
    stopping.abort()
    await expect(second).rejects.toThrow(/abort|cancel/i)
    // The cancelled training does not remove the lock of another one.
    await first
    expect((await prepare()).python).toBe((await first).python)
  })

  it('is removed when it cannot be made, and rebuilt when it can', async () => {
    await write('lightgbm==4.5.0\n')
    const made = async () =>
      (await readdir(join(root, 'cache', 'python'))).filter((name) => !name.includes('.lock'))
    const before = await made()
    const missing = (versions: string) =>
      `ERROR: Could not find a version that satisfies the requirement lightgbm==4.5 (${versions})\nERROR: No matching distribution found for lightgbm==4.5`
    const listed = missing(`from versions: ${Array.from({ length: 90 }, (_, n) => `1.${n}`).join(', ')}`)
    await failing(
      'no-network',
      () =>
        expect(prepare()).rejects.toMatchObject({
          code: 'environment_failed',
          message: `the packages of the requirements cannot be installed (the log of the worker has all of the output):\n${missing('newest versions: 1.87, 1.88, 1.89')}`,
        }),
      listed,
    )
    expect(failedWith).toContain(listed)
    expect(await made()).toEqual(before)
    const { python } = await prepare()
    // The state that a worker leaves when it is killed before the end.
    await rm(join(python, '..', '..', 'tenure-complete'))
    await writeFile(join(python, '..', 'half-made'), '')
    expect((await prepare()).python).toBe(python)
    expect(await readdir(join(python, '..'))).toEqual(['python'])
  })

  it('names what the machine lacks', async () => {
    await write('lightgbm==4.4.0\n')
    await failing('no-venv', () =>
      expect(prepare()).rejects.toMatchObject({
        code: 'environment_failed',
        message: expect.stringMatching(/\/bin\/python3 has no venv: install the package python3-venv/),
      }),
    )
    // A file in place of a folder.
    await expect(prepare(undefined, 'requirements.txt')).rejects.toMatchObject({
      code: 'environment_failed',
      message: expect.stringMatching(/^no environment can be made in the cache: ENOTDIR/),
    })
    const empty = join(root, 'empty')
    await mkdir(empty)
    await expect(prepare(empty)).rejects.toMatchObject({
      code: 'environment_failed',
      message: 'there is no python3 on this machine',
    })
  })
})

describe('the Python environment of a model that is code', () => {
  const find = (python: string, packages: Record<string, string>, cache = 'cache') =>
    findPython(
      { python, packages },
      {
        cache: join(root, cache),
        env: { PATH: `${bin}:/usr/bin:/bin`, HOME: root },
        signal: new AbortController().signal,
      },
    )

  it('is that of its training, where this machine has it', async () => {
    await write('lightgbm==4.7.0 # trained here\n')
    const trained = await prepare()
    const before = await installs()
    expect(await find('3.11.7', { lightgbm: '4.7.0' })).toBe(trained.python)
    expect(await installs()).toBe(before)
  })

  it('is removed when nothing has used it for long, unless a kept version needs it, and is made again', async () => {
    const made = []
    for (const text of ['numpy==1\n', 'numpy==2\n', 'numpy==3\n']) {
      await write(text)
      made.push(await prepare(undefined, 'pruned'))
    }
    const [old, needed, used] = made
    const markerOf = ({ python }: { python: string }) => join(dirname(dirname(python)), 'tenure-complete')
    const long = new Date(Date.now() - 3_600_000)
    for (const each of made) await utimes(markerOf(each), long, long)
    await noteUse(used!.python)
    // All have the same packages here, and the note is of the last one.
    const digest = needed!.digest
    await writeFile(join(root, 'pruned', 'python', `of-${digest.slice('sha256:'.length)}`), needed!.python)
    const prune = () => pruneEnvironments(join(root, 'pruned'), { unusedMs: 60_000, needed: [digest] })
    expect(await prune()).toBe(1)
    const left = await Promise.all(
      made.map((each) =>
        stat(markerOf(each)).then(
          () => true,
          () => false,
        ),
      ),
    )
    expect(left).toEqual([false, true, true])
    expect(await prune()).toBe(0)
    await write('numpy==1\n')
    expect((await prepare(undefined, 'pruned')).python).toBe(old!.python)
  })

  it('is made of its packages elsewhere, without those of the interpreter, by the same version of Python', async () => {
    await copyFile(join(bin, 'python3'), join(bin, 'python3.11'))
    const python = await find('3.11.7', { lightgbm: '4.7.0', pip: '23.2.1' }, 'elsewhere')
    expect(python).toMatch(/\/elsewhere\/python\/[0-9a-f]{64}\/bin\/python$/)
    const [listed = ''] = (await readdir(join(root, 'elsewhere', 'python'))).filter((name) =>
      name.endsWith('.txt'),
    )
    expect(await readFile(join(root, 'elsewhere', 'python', listed), 'utf8')).toBe('lightgbm==4.7.0\n')
    await rm(join(bin, 'python3.11'))
  })

  it('is made where the interpreter of the system has got other packages since its training', async () => {
    requirements = ''
    await prepare(undefined, 'changing')
    const packages = { lightgbm: '4.7.0' }
    expect(await find('3.11.7', packages, 'changing')).toBe(join(bin, 'python3'))
    await writeFile(join(bin, 'python3'), fakePython(root).replaceAll('4.7.0', '4.8.0'))
    await copyFile(join(bin, 'python3'), join(bin, 'python3.11'))
    expect(await find('3.11.7', packages, 'changing')).toContain('/changing/python/')
    await writeFile(join(bin, 'python3'), fakePython(root))
    await rm(join(bin, 'python3.11'))
  })

  it('needs the version of Python', async () => {
    await expect(find('3.98.1', { lightgbm: '4.7.0' }, 'without')).rejects.toMatchObject({
      code: 'environment_failed',
      message: expect.stringMatching(
        /that Python 3\.98\.1 has saved .* there is no python3\.98 on this machine/,
      ) as unknown,
    })
  })
})
