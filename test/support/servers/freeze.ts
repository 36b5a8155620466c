/** Freezes a whole server. Each Postgres process has its own process group, so a signal to the first process does not reach the others. */
import { readdirSync, readFileSync } from 'node:fs'

/** Returns the process and all its descendants. */
export function familyOf(pid: number): number[] {
  const children = new Map<number, number[]>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
      // Format: pid (name, which may contain any character) state parent …
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
      children.set(parent, [...(children.get(parent) ?? []), Number(name)])
    } catch {
      // The process has ended meanwhile.
    }
  }
  const family = [pid]
  for (let i = 0; i < family.length; i++) family.push(...(children.get(family[i]!) ?? []))
  return family
}

/** Stops every process of the tree until the returned function is called. */
export function freeze(pid: number): () => void {
  const family = familyOf(pid)
  for (const each of family) signal(each, 'SIGSTOP')
  return () => family.forEach((each) => signal(each, 'SIGCONT'))
}

/** Skips a process that has ended meanwhile; an error would leave the others frozen. */
function signal(pid: number, name: 'SIGSTOP' | 'SIGCONT'): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
