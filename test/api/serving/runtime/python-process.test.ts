/**
 * Tests what the code of a model can reach and how it ends, on real Python processes. The code runs as its pickle is read, so a model needs
 * no package.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createPatience } from '../../../../api/serving/routing/version-loader.ts'
import { createRuntimes } from '../../../../api/serving/runtime/hosts.ts'
import { jailed, requireJail } from '../../../../api/serving/runtime/python-process.ts'
import { checkout, systemEnvironment } from '../../../../temporal.config.ts'
import type { PredictorError } from '@tenure/predictors'
import { pythonFile } from '../../../support/serving/python-file.ts'

const patient = { onError: () => {}, loadMs: 600_000, runMs: 600_000 }
const runtimes = createRuntimes(patient)
let python = ''
beforeAll(() => {
  const options = { env: systemEnvironment(), encoding: 'utf8' as const }
  python = execFileSync(
    'python3',
    ['-c', 'import platform; print(platform.python_version())'],
    options,
  ).trim()
})
afterAll(() => runtimes.stop())

/** Opens a model whose reading runs these statements; `answer` is what they define. */
const open = (code: string, { python: models } = runtimes) =>
  models.open(
    'roses_v1.0.0',
    { bytes: pythonFile(code, { python }), plan: {}, needs: { python, packages: {} } },
    { inputs: 1 },
  )
/** As a replica opens its versions, which waits a moment. */
const hastily = () => createPatience<Awaited<ReturnType<typeof open>>>((model) => model.close?.(), 1)
/** Returns what an expression of the code of a model is. */
async function seen(expression: string): Promise<string> {
  const error = await open(`raise Exception(${expression})`).catch((thrown: PredictorError) => thrown)
  return /Exception: (.*)$/s.exec((error as Error).message)?.[1] ?? (error as Error).message
}

/** The processes that serve models here, also without a parent. Another test file may have some of its own. */
const servers = (): string[] =>
  readdirSync('/proc').filter((pid) => {
    try {
      const isServer =
        /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('tenure._serve')
      return isServer && !isOfAnotherFile(Number(pid))
    } catch {
      return false
    }
  })

/** Each test file has a process of its own under that of vitest. */
function isOfAnotherFile(pid: number): boolean {
  if (pid === process.pid || pid <= 1) return false
  // The parent follows the name, which may have spaces.
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return pid === process.ppid || isOfAnotherFile(Number(stat.slice(stat.lastIndexOf(')')).split(' ')[2]))
}

const python3 = execFileSync('python3', ['-c', 'import sys; print(sys.executable)'], {
  env: systemEnvironment(),
  encoding: 'utf8',
}).trim()

/** Where namespaces are forbidden, no such model is run. */
const isJailed = (() => {
  try {
    requireJail(python3)
    return true
  } catch {
    return false
  }
})()

it.skipIf(isJailed)('code is refused where it would have the rights of the replica', async () => {
  await expect(open('')).rejects.toThrow('cannot keep it from the rights of the replica')
})

describe.runIf(isJailed)('the code of a model', () => {
  it('sees no file but its packages and the libraries of the system', async () => {
    const visible = await seen(`' '.join(sorted(__import__('os').listdir('/')))`)
    expect(visible.split(' ')).toEqual(expect.arrayContaining(['dev', 'proc', 'tmp', 'usr']))
    expect(
      await seen(`str(__import__('os').path.exists(${JSON.stringify(process.cwd() + '/package.json')}))`),
    ).toBe('False')
    expect(await seen(`str(__import__('os').path.exists('/etc/passwd'))`)).toBe('False')
  })

  it('changes no file of its packages', async () => {
    expect(await seen(`__import__('os').__file__`)).toMatch(/os\.py$/)
    const { message } = (await open(`open(__import__('os').__file__, 'a')`).catch(
      (error: Error) => error,
    )) as Error
    expect(message).toMatch(/Read-only file system|Permission denied/)
  })

  it('has locks between processes, and a name of its user', async () => {
    expect(await seen(`str(__import__('multiprocessing').Pool(2).map(abs, [-1, -2]))`)).toBe('[1, 2]')
    expect(await seen(`__import__('getpass').getuser()`)).toBe('model')
  })

  it('has no network, not even the loopback', async () => {
    const { message } = (await open(`__import__('socket').create_connection(('127.0.0.1', 5432), 1)`).catch(
      (error: Error) => error,
    )) as Error
    expect(message).toContain('Network is unreachable')
  })

  it('sees no process but its own, and no setting of this one', async () => {
    const processes = await seen(`' '.join(p for p in __import__('os').listdir('/proc') if p.isdigit())`)
    expect(processes.split(' ').length).toBeLessThan(4)
    const names = await seen(`' '.join(__import__('os').environ)`)
    expect(names).not.toMatch(/DATABASE|TEMPORAL|TOKEN|SECRET|KEY|URL/)
  })

  it('has no capability and gains no privilege', async () => {
    const status = await seen(`open('/proc/self/status').read()`)
    expect(status).toMatch(/CapEff:\s0+\n/)
    expect(status).toMatch(/CapBnd:\s0+\n/)
    expect(status).toMatch(/NoNewPrivs:\s1/)
  })

  const probes = [
    ['anonymous shared memory', `__import__('mmap').mmap(-1, 1 << 20)`, 'Cannot allocate memory'],
    ['a stack that grows', `__import__('mmap').mmap(-1, 1 << 20, flags=0x122)`, 'Cannot allocate memory'],
    ['a file of memory alone', `__import__('os').memfd_create('a')`, 'Cannot allocate memory'],
    ['the device of zeros', `open('/dev/zero')`, 'No such file'],
    ['shared memory of System V', `call('shmget', (29, 194), 0, 1 << 20, 0o1600)`, 'Cannot allocate memory'],
    ['io_uring', `call('io_uring_setup', (425, 425), 8, buffer)`, 'Operation not permitted'],
    ['userfaultfd', `call('userfaultfd', (323, 282), 0)`, 'Operation not permitted'],
    ['bpf', `call('bpf', (321, 280), 0, buffer, 120)`, 'Operation not permitted'],
    ['keys of the kernel', `call('keyctl', (250, 219), 0, -3, 0)`, 'Operation not permitted'],
    ['ptrace', `call('ptrace', (101, 117), 0, 0, 0, 0)`, 'Operation not permitted'],
    ['namespaces of its own', `call('unshare', (272, 97), 0x10000000)`, 'Operation not permitted'],
    ['calls that are newer than the filter', `call('new', (463, 463), 0)`, 'Function not implemented'],
    ['calls of x32', `call('mmap', (0x40000009, 0x40000009), 0)`, 'Function not implemented'],
    ['netlink', `__import__('socket').socket(16, 3)`, 'Address family not supported'],
    ['vsock', `__import__('socket').socket(40, 1)`, 'Address family not supported'],
    ['raw packets', `__import__('socket').socket(17, 3)`, 'Address family not supported'],
  ] as const
  /** What each probe got, or its error; all of one process, whose start takes most of the time. */
  let got: Record<string, string>
  beforeAll(async () => {
    const expressions = JSON.stringify(
      Object.fromEntries(probes.map(([what, expression]) => [what, expression])),
    )
    const { message } = (await open(`
import ctypes, json, os, platform
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(256)
def call(name, numbers, *given):
    at = 0 if platform.machine() == 'x86_64' else 1
    if libc.syscall(ctypes.c_long(numbers[at]), *[ctypes.c_long(v) if isinstance(v, int) else v for v in given]) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
found = {}
for what, expression in json.loads(${JSON.stringify(expressions)}).items():
    try:
        found[what] = f'it got {eval(expression)}'
    except Exception as error:
        found[what] = error.strerror if isinstance(error, OSError) else repr(error)
raise Exception(json.dumps(found))
`).catch((error: Error) => error)) as Error
    got = JSON.parse(message.slice(message.indexOf('{'))) as Record<string, string>
  })

  it.each(probes)('does not get %s', (what, _expression, problem) => {
    expect(got[what]).toContain(problem)
  })

  it('does not get shared memory in files beyond the limit of their file system, nor more sockets than files', async () => {
    expect(
      await seen(`'%d' % (lambda s: s.f_blocks * s.f_frsize >> 20)(__import__('os').statvfs('/dev/shm'))`),
    ).toBe('256')
    expect(await seen(`str(__import__('resource').getrlimit(__import__('resource').RLIMIT_NOFILE))`)).toBe(
      '(1024, 1024)',
    )
  })

  it('has no descriptor that its server was started with but the four of its channels', () => {
    const confine = join(checkout, 'packages', 'python', 'src', 'tenure', '_confine.py')
    const { stdout, stderr } = spawnSync(
      'setpriv',
      ['--no-new-privs', python3, '-I', '-S', confine, '/bin/ls', '/proc/self/fd'],
      { env: systemEnvironment(), encoding: 'utf8', stdio: ['ignore', ...Array<'pipe'>(6).fill('pipe')] },
    )
    // The last one is that of the listing itself.
    expect([stdout.trim().split('\n').join(' '), stderr]).toEqual(['0 1 2 3 4', ''])
  })

  it.each(['below', 'with a blank'])('changes nothing that is mounted below its folders: %s', (name) => {
    const folder = mkdtempSync(join(tmpdir(), 'mounted-'))
    // The code of a model is another user.
    chmodSync(folder, 0o755)
    mkdirSync(join(folder, name))
    const isRoot = process.getuid?.() === 0
    const { stdout, stderr } = spawnSync(
      'unshare',
      [
        ...(isRoot ? [] : ['--user', '--map-root-user']),
        '--mount',
        '/bin/sh',
        '-ec',
        'mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs "$0"; touch "$0/own"; exec "$@"',
        join(folder, name),
        ...jailed([folder]),
        '/bin/sh',
        '-c',
        'ls "$0"; touch "$0/changed"; ls "$0"',
        join(folder, name),
      ],
      { env: systemEnvironment(), encoding: 'utf8' },
    )
    expect(stdout).toBe('own\nown\n')
    expect(stderr).toContain('Read-only file system')
    rmSync(folder, { recursive: true })
  })

  it('cannot start more processes than its limit', async () => {
    const { message } = (await open(`
import os, time
for _ in range(1000):
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
`).catch((error: Error) => error)) as Error
    expect(message).toContain('Resource temporarily unavailable')
  })
})

describe.runIf(isJailed)('a model that is code', () => {
  it('is refused with the last line of its traceback when it does not load', async () => {
    await expect(open('import no_such_package')).rejects.toMatchObject({
      code: 'artifact_invalid',
      message: expect.stringContaining("No module named 'no_such_package'") as unknown,
    })
  })

  it('is ended at its limit of memory', async () => {
    await expect(open('held = bytearray(8 << 30)')).rejects.toMatchObject({
      message: expect.stringContaining('MemoryError') as unknown,
    })
  })

  describe('and ends its process by a row', () => {
    const code = `
import os
def answer(rows):
    if (rows == 666).any():
        os._exit(1)
    return rows[:, 0]`
    const packages = { numpy: '2.2.6' }
    const opened = (text: string, { python: models }: typeof runtimes) =>
      models.open(
        'roses_v1.0.0',
        { bytes: pythonFile(text, { python, packages }), plan: {}, needs: { python, packages } },
        { inputs: 1 },
      )
    const asked = async ({ run }: Awaited<ReturnType<typeof open>>, ...values: number[]) => {
      const output = new Float32Array(values.length)
      await run(Float64Array.from(values), values.length, output)
      return [...output]
    }

    it('refuses this row and answers the others, also those of the same moment, for as long as it is asked', async () => {
      const own = createRuntimes(patient)
      try {
        const model = await opened(code, own)
        const killer =
          /has died: it ended with 1.*; twice by this row alone, which is refused for 5 minutes$/s
        const [first, second, last] = await Promise.allSettled([
          asked(model, 1, 2),
          asked(model, 666),
          asked(model, 3),
        ])
        expect([first, last]).toMatchObject([{ value: [1, 2] }, { value: [3] }])
        expect(second).toMatchObject({ reason: { message: expect.stringMatching(killer) as unknown } })
        for (let time = 0; time < 5; time++) {
          await expect(async () => asked(model, 666)).rejects.toThrow(killer)
          await expect(async () => asked(model, 4, 666)).rejects.toThrow(killer)
          expect(await asked(model, 4, 5)).toEqual([4, 5])
        }
      } finally {
        await own.stop()
      }
    })

    it('is given up for some minutes when three such rows come and none that it answers', async () => {
      const own = createRuntimes(patient)
      try {
        const model = await opened(`import os\ndef answer(rows): os._exit(1)`, own)
        for (const row of [1, 2]) {
          await expect.poll(() => model.trouble?.()).toBeUndefined()
          await expect(async () => asked(model, row)).rejects.toThrow('twice by this row alone')
        }
        await expect.poll(() => model.trouble?.()).toBeUndefined()
        await expect(async () => asked(model, 3)).rejects.toThrow('has died 3 times')
        await expect
          .poll(() => model.trouble?.())
          .toMatch(/has died 3 times with it; it is tried again after 5 minutes/)
      } finally {
        await own.stop()
      }
    })
  })

  it('is refused when it ends its process as it loads', async () => {
    await expect(open(`import os; os._exit(3)`)).rejects.toMatchObject({
      code: 'model_unavailable',
      message: expect.stringContaining('it ended with 3') as unknown,
    })
  })

  it('is ended when it takes longer than its time, although it never returns', async () => {
    const before = servers()
    const reachedMs = 3_000
    const hasty = createRuntimes({ ...patient, loadMs: reachedMs })
    try {
      await expect(open(`import time\nwhile True: time.sleep(1)`, hasty)).rejects.toMatchObject({
        message: expect.stringContaining('it has taken more than 3000 ms') as unknown,
      })
    } finally {
      await hasty.stop()
    }
    await expect.poll(servers).toEqual(before)
  })

  it('leaves no process behind: closed, stopped or with a process of its own', async () => {
    const before = servers()
    const own = createRuntimes(patient)
    const answer = 'def answer(rows): return rows'
    const model = await open(answer, own)
    await open(`import os, time\nif os.fork() == 0:\n    time.sleep(600)\n${answer}`, own)
    expect(servers().length).toBeGreaterThan(before.length + 1)
    model.close?.()
    await own.stop()
    await expect.poll(servers).toEqual(before)
  })

  it('is opened beside other work by a replica, which asks again', async () => {
    const own = createRuntimes(patient)
    const hasty = hastily()
    try {
      const again = () => hasty('m', () => open('def answer(rows): return rows', own), 'is code')
      await expect(again()).rejects.toMatchObject({ code: 'model_unavailable' })
      await expect.poll(() => again().then(({ outputs }) => outputs, String)).toBe(1)
    } finally {
      await own.stop()
    }
  })

  it('is not opened again at once by a replica when it has failed', async () => {
    const own = createRuntimes(patient)
    const hasty = hastily()
    try {
      // Each reading of the object gives another number.
      const failing = () => open('import os; raise Exception(os.urandom(8).hex())', own)
      const again = () => hasty('m', failing, 'is code').catch(String)
      await expect.poll(again).toContain('Exception')
      expect(await again()).toBe(await again())
    } finally {
      await own.stop()
    }
  })

  it('says at most a thousand letters of its own', async () => {
    const forged = `
import json, os, struct
text = json.dumps({'error': 'x' * 100000}).encode()
os.write(3, struct.pack('<6I', len(text), 1, len(text), 0, 0, 0) + text)`
    const { message } = (await open(forged).catch((error: Error) => error)) as Error
    expect(message).toMatch(/x{1000}$/)
  })

  it('does not disturb its answers by what it prints', async () => {
    await expect(open(`print('x' * 100000); raise Exception('printed')`)).rejects.toThrow('printed')
  })
})
