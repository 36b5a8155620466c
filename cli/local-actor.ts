/** Names the user of this machine in the audit log, for commands that change the database and have no API key. */
import { userInfo } from 'node:os'

/** A container may run as a user id without a name, as on OpenShift: then its number stands for it. */
export function localActor(read: () => { username: string } = userInfo): string {
  try {
    return `cli/${read().username}`
  } catch {
    return `cli/uid-${process.getuid?.() ?? 'unknown'}`
  }
}
