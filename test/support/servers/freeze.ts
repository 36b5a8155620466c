/** Freezes a whole server. Each Postgres process has its own process group, so that a signal to the first reaches no other. */
import { readdirSync, readFileSync } from 'node:fs'

/** The process and all below it. */
export function familyOf(pid: number): number[] {
  const children = new Map<number, number[]>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
      // pid (name, which may hold anything) state parent …
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
      children.set(parent, [...(children.get(parent) ?? []), Number(name)])
    } catch {
      // It has ended meanwhile.
    }
  }
  const family = [pid]
  for (let i = 0; i < family.length; i++) family.push(...(children.get(family[i]!) ?? []))
  return family
}

/** Stops every process of the family until the returned function is called. */
export function freeze(pid: number): () => void {
  const family = familyOf(pid)
  for (const each of family) signal(each, 'SIGSTOP')
  return () => family.forEach((each) => signal(each, 'SIGCONT'))
}

/** A process that ends meanwhile is skipped, because an error would leave the others frozen. */
function signal(pid: number, name: 'SIGSTOP' | 'SIGCONT'): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
