// As as_pasted.py, for modules: each is imported, with its own folder as the one that it is started in.
import { pathToFileURL } from "node:url";
import { format } from "node:util";

const said = {};
const print = console.log;
for (const folder of process.argv.slice(2)) {
  const heard = [];
  console.log = (...words) => heard.push(format(...words));
  process.chdir(folder);
  try {
    await import(pathToFileURL(`${folder}/call.mjs`));
  } catch (error) {
    heard.push(error.stack);
  }
  said[folder] = heard.join("\n");
}
print(JSON.stringify(said));
