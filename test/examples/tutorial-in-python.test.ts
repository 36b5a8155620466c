/** Follows docs/tutorial.md with its model file in Python, whose packages come from the real registry. */
import { followTutorial } from '../support/docs/follow-tutorial.ts'

followTutorial('python')
