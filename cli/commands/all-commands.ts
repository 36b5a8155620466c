/**
 * Every command of `tenure`, in the order of `tenure --help`. It is data apart from what runs it, so that the reference page is
 * made from the same specs that are executed.
 */
import type { CommandGroup, CommandSpec } from '../program.ts'
import { auditGroup } from './admin/audit.ts'
import { backupCommand, restoreCommand } from './admin/backup.ts'
import { batchGroup } from './registry/batch.ts'
import { releaseCommands, rollbackCommand } from './release-verbs.ts'
import { doctorCommand } from './admin/doctor.ts'
import { drillCommand, drillsCommand } from './lifecycle/drill.ts'
import { featuresGroup } from './registry/features.ts'
import { eraseCommand } from './admin/erase.ts'
import { erasuresCommand } from './admin/erasures.ts'
import { exportCommand } from './registry/export.ts'
import { flagsGroup } from './admin/flags.ts'
import { keysGroup } from './admin/keys.ts'
import { liveAtCommand, modelsGroup } from './registry/models.ts'
import { releaseGroup, releasesCommand } from './lifecycle/releases.ts'
import { resetCommand } from './admin/reset.ts'
import { retrainCommand } from './lifecycle/retrain.ts'
import { simulateCommand } from './lifecycle/simulate.ts'
import { statusCommand } from './admin/status.ts'
import { upCommand } from './admin/up.ts'
import { versionsGroup } from './registry/versions.ts'

export const commands: readonly (CommandSpec | CommandGroup)[] = [
  upCommand,
  statusCommand,
  retrainCommand,
  releasesCommand,
  releaseGroup,
  ...releaseCommands,
  rollbackCommand,
  drillCommand,
  drillsCommand,
  modelsGroup,
  versionsGroup,
  liveAtCommand,
  batchGroup,
  featuresGroup,
  exportCommand,
  eraseCommand,
  erasuresCommand,
  flagsGroup,
  keysGroup,
  auditGroup,
  simulateCommand,
  doctorCommand,
  backupCommand,
  restoreCommand,
  resetCommand,
]
