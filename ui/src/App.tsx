/** Which page an address shows. The server knows the same paths: any other is 404 there. */
import { lazy, Suspense } from "react";
import { Provider } from "urql";
import { Route, Switch, useLocation } from "wouter";
import { passing } from "./api/client";
import { Empty, PageTitle, Waiting } from "./components/Bits";
import { Boundary } from "./components/Boundary";
import { Login } from "./components/Login";
import { Shell } from "./components/Shell";
import { Automation } from "./pages/Automation";
import { BackfillPage, Backfills } from "./pages/Backfills";
import { Deployment } from "./pages/Deployment";
import { SchedulePage, SensorPage } from "./pages/Instigator";
import { Jobs } from "./pages/Jobs";
import { Overview } from "./pages/Overview";
import { RunPage } from "./pages/RunPage";
import { Runs } from "./pages/Runs";
import { Workers } from "./pages/Workers";

const JobPage = lazy(() => import("./pages/JobPage"));
const Playground = lazy(() => import("./pages/Playground"));

/** As it stands where it is no encoded text. */
function decoded(text = ""): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** It asks for another span of time every half minute, as long as it is open. */
function Passing() {
  return (
    <Provider value={passing}>
      <Overview />
    </Provider>
  );
}

export function App() {
  const [path] = useLocation();
  return (
    <Shell>
      <Login />
      <Boundary path={path}>
        <Suspense fallback={<Waiting />}>
          <Switch>
            <Route path="/" component={Passing} />
            <Route path="/overview" component={Passing} />
            <Route path="/runs" component={Runs} />
            <Route path="/runs/:id">{({ id }) => <RunPage key={id} id={decoded(id)} />}</Route>
            <Route path="/jobs" component={Jobs} />
            <Route path="/locations/:location/jobs/:job/:tab?">
              {({ location, job, tab }) => (
                <JobPage
                  key={`${location}/${job}`}
                  location={decoded(location)}
                  job={decoded(job)}
                  tab={tab ?? "graph"}
                />
              )}
            </Route>
            <Route path="/locations/:location/schedules/:name">
              {({ location, name }) => <SchedulePage location={decoded(location)} name={decoded(name)} />}
            </Route>
            <Route path="/locations/:location/sensors/:name">
              {({ location, name }) => <SensorPage location={decoded(location)} name={decoded(name)} />}
            </Route>
            <Route path="/automation" component={Automation} />
            <Route path="/backfills" component={Backfills} />
            <Route path="/backfills/:id">{({ id }) => <BackfillPage id={decoded(id)} />}</Route>
            <Route path="/workers" component={Workers} />
            <Route path="/deployment/:tab?">{({ tab }) => <Deployment tab={tab ?? "code"} />}</Route>
            <Route path="/graphiql" component={Playground} />
            <Route>
              <PageTitle title="Not found" />
              <Empty>There is no such page.</Empty>
            </Route>
          </Switch>
        </Suspense>
      </Boundary>
    </Shell>
  );
}
