/** Finds the process that listens on a port, by the socket inodes in /proc. */
import { readdirSync, readlinkSync } from 'node:fs'
import { readText } from '../read-text.ts'

const listening = '0A'

export interface PortHolder {
  pid: number
  /** Its command line, as far as a message shows it. */
  command: string
}

/** Returns undefined for a process of another user. */
export function holderOf(port: number): PortHolder | undefined {
  const sockets = new Set(['/proc/net/tcp', '/proc/net/tcp6'].flatMap((path) => socketsIn(path, port)))
  if (sockets.size === 0) return undefined
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)))
    if (filesOf(pid).some((file) => sockets.has(file))) return { pid: Number(pid), command: commandOf(pid) }
  return undefined
}

const commandOf = (pid: string): string =>
  (readText(`/proc/${pid}/cmdline`) ?? '').split('\0').join(' ').trim().slice(0, 200)

function socketsIn(path: string, port: number): string[] {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0')
  const lines = readText(path)?.split('\n').slice(1) ?? []
  return lines.flatMap((line) => {
    const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/)
    return local.endsWith(`:${wanted}`) && state === listening ? [`socket:[${inode}]`] : []
  })
}

function filesOf(pid: string): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/${pid}/fd/${fd}`)]
      } catch {
        return []
      }
    })
  } catch {
    return []
  }
}
