/** Tests whether a process is known to run. A serving replica must not be mistaken for a killed one, because its lease would be ended. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, it } from 'vitest'
import { isAlive, isProcess, processIdentity, thisProcess } from '../../store/process-identity.ts'
import { until } from '../support/serving/serving-fixture.ts'

const mayUnshare =
  process.getuid?.() === 0 && spawnSync('unshare', ['--pid', '--mount', '--fork', 'true']).status === 0
const source = pathToFileURL(join(process.cwd(), 'store/process-identity.ts')).href

it('a process is alive until it ends, and its reused id does not identify another process', async () => {
  expect(isAlive(thisProcess())).toBe(true)
  expect(processIdentity()?.process).toBe(thisProcess())
  expect(isAlive(`${process.pid}.1`)).toBe(false)
  expect(['', '0.0', '-1.1', 'x.1'].map(isAlive)).toEqual([false, false, false, false])
  // A zombie: its parent does not wait for it.
  const parent = spawn('sh', ['-c', 'sleep 60 & echo $!; exec sleep 60'])
  const pid = await new Promise<number>((resolve) =>
    parent.stdout.once('data', (text) => resolve(Number(text))),
  )
  const child = `${pid}.${startOf(pid)}`
  expect(isAlive(child)).toBe(true)
  process.kill(pid, 'SIGKILL')
  await until(() => !isAlive(child), 'the end of the child')
  expect(isProcess(pid)).toBe(true)
  parent.kill('SIGKILL')
})

it.skipIf(!mayUnshare)(
  'a process of another user is alive where /proc hides it, and one that has ended is not',
  () => {
    const script = `const { isAlive } = await import('${source}'); console.log(['1.12345', '1000000.12345'].map(isAlive))`
    const asAnother = ['setpriv', '--reuid', '65534', '--clear-groups']
    const prepare = 'mount -t proc -o hidepid=2,gid=65533 proc /proc'
    const told = unshared(['--pid', '--fork', '--mount'], prepare, [...asAnother, ...node(script)])
    expect(told).toBe('[ true, false ]')
  },
)

it.skipIf(!mayUnshare)(
  'a process whose /proc belongs to another namespace names no machine, and counts as alive for its neighbours',
  () => {
    const script = `const { isAlive, processIdentity, thisProcess } = await import('${source}')
      console.log(processIdentity(), isAlive(thisProcess()), isAlive('1.12345'), isAlive('1000000.12345'))`
    expect(unshared(['--pid', '--fork', '--mount-proc'], 'umount /proc', node(script))).toBe(
      'undefined true true false',
    )
  },
)

const node = (script: string): string[] => [
  process.execPath,
  '--import',
  'tsx',
  '--input-type=module',
  '-e',
  script,
]

/** Returns the output of a program in separate namespaces, after a preparation. */
function unshared(namespaces: string[], prepare: string, command: string[]): string {
  const words = command.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ')
  return execFileSync('unshare', [...namespaces, 'sh', '-c', `${prepare} && ${words} && true`], {
    encoding: 'utf8',
  }).trim()
}

function startOf(pid: number): string {
  const stat = execFileSync('cat', [`/proc/${pid}/stat`], { encoding: 'utf8' })
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]!
}
